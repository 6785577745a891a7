//! Metrics with intervals and baselines, and the report that holds them.
