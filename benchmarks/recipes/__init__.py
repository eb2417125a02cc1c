"""Recipes of training under one budget: each a named change of one base, on the same subjects, out of fold.

    python -m benchmarks.recipes DATA --target loongson-2k0500 --folds FOLDS.json -o OUT    trains and prints the table
    the same with --only focal,mixup                                                        trains these and the base
    the same with --write                                                                   keeps it as a record too

For each recipe and seed one network a fold is trained, on the subjects of the other folds. The threshold of a fold is
chosen on what the subjects of the others were answered, by networks that have seen that fold: this compares recipes,
it is no claim about any of them (`ecm_edge.training.crossval` makes one).

The budget is segment passes, segments times epochs. A recipe that trains on more or fewer segments than the base gets
the number of epochs that comes nearest to the base's passes. Teachers are trained within the same folds, once
for all of a seed; they draw their own half of the data, and their passes come on top and have a column.

OUT keeps a file for each recipe and seed, and the teachers; the next run goes on from there.
"""
