"""How good it is: protocol, reference scores, statistics, film."""
