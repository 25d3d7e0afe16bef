"""Making the models which every generative student grows on: fetch, convert, measure, publish."""
