"""Linear classifiers over the features of a text: what runtimes that hold one have in common."""
