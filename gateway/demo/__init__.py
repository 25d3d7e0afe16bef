"""The loop shown on real HTTP traffic with a simulated teacher."""
