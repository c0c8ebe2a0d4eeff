"""How good it is: protocol, reference scores, statistics, plots, video, report."""
