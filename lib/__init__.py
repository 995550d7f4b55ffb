"""The vocabulary of the notebooks: data sets, models, features, statistics and figures."""
