"""The demo: the whole loop over real HTTP, with a simulated teacher."""
