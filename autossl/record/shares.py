"""How many of the labelled images a study keeps for its choices and for its test."""

TEST_SHARE = 0.2  # where there is no official test part
SELECTION_SHARE, SELECTION_SHARE_FEW, FEW_LABELS = (
    0.15,
    0.3,
    1000,
)  # of the rest: of many labels, of fewer
