"""What a benchmark has to reach: it fails where it does not, and the tables say so."""

FASTER_THAN_A_LOOP = {"tcn": 4.0, "separable": 4.0, "afnet": 1.5}  # a plain PyTorch loop in memory
FASTER_THAN_THE_SEED_WORK = {"tcn": 10.0, "afnet": 6.0}
TRAINING_F1_LOSS = 0.005  # at most
TRIAL_OVERHEAD_S = 2.0  # median
SLOWEST_TRIAL_S = 4.0  # beside training, of all but the first
DEMO_SHARE = 0.6  # of the time where every trial is proven
SEARCH_MEMORY_BYTES = 3_000_000_000
LARGE_FIRST_STEP_S, LARGE_AUDIT_S = 20, 300  # of 2 million segments
LARGE_PACE = 0.9  # of a pass from memory
LARGE_MEMORY_BYTES = 2_000_000_000  # of a process, without the pages of the map
WFDB_IMPORT_S = 60
WFDB_IMPORT_BYTES = 1_000_000_000
FIT_S = 15
MERGE_S = 10
MERGE_MEMORY_BYTES = 200_000_000
EPISODES_S = 20  # of one core, for 24 h of two leads
EPISODES_MEMORY_BYTES = 500_000_000
