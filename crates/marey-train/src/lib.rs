//! The training loop: losses, optimisers, schedules, checkpoints, run folder.
