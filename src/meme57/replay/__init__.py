"""The replay: chunks of episodes, sequences drawn by priority, snapshots on disk."""

from meme57.replay.chunks import Chunk, SequenceBatch, StepInputs
from meme57.replay.codec import compress_frames, decode_chunks, decompress_frames_into, encode_chunks
from meme57.replay.replay import SequenceReplay
from meme57.replay.snapshot import collect_garbage, load_snapshot, save_snapshot
from meme57.replay.sum_tree import SumTree

__all__ = [
    "Chunk",
    "SequenceBatch",
    "SequenceReplay",
    "StepInputs",
    "SumTree",
    "collect_garbage",
    "compress_frames",
    "decode_chunks",
    "decompress_frames_into",
    "encode_chunks",
    "load_snapshot",
    "save_snapshot",
]
