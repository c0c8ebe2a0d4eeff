"""Evaluation of agents: protocol, reference scores, statistics, film."""
