"""Runs: build, train, resume, save, and explain failures."""

from .build import build_runner, set_auto_scale_lr, set_deterministic
from .checkpointing import (
    SaveError,
    Search,
    newest_checkpoint,
    remove_leftovers,
    require_any,
    save_whole,
    write_text,
)
from .failures import RunError, plain_errors, resume_command
from .log import Console, DeferredMessageHub, PretrainLogProcessor, show_little
from .loop import ResumableTrainLoop, random_state, set_random_state
from .runner import PretrainRunner, compile_encoder, working_in
