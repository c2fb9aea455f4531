"""The parts that the images of a study are divided into, and those that data come with."""

PROBE, SELECTION, TEST, DROPPED = 0, 1, 2, 3  # values of Data.part
PARTS = ("probe", "selection", "test", "dropped")
TRAIN, VAL, OFFICIAL_TEST, NO_SPLIT = 0, 1, 2, -1  # values of Source.split
