"""A candidate's weights: one training, its teachers, and the cross-validation of a recipe."""
