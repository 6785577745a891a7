//! Marey's vocabulary, as plain data.
//!
//! For: the words every other crate speaks, [`Timestamp`], [`Span`], [`Frame`], [`Clip`], [`ClassList`], and the pure
//! arithmetic of which frames make a clip ([`Sampling`]).
//! Not for: opening files, tensors, threads. This crate never does I/O and never sees a tensor.
//!
//! ```
//! use marey_clip::{Sampling, Span, Timeline, Timestamp};
//!
//! // Thirty frames, one every 40 ms.
//! let timestamps = (0..30).map(|i| Timestamp::from_nanos(i * 40_000_000)).collect();
//! let timeline = Timeline::new(timestamps, Timestamp::from_nanos(30 * 40_000_000))?;
//! let sampling = Sampling::dense(8, 2);
//! let views = sampling.plan_views(&timeline, timeline.span());
//! assert_eq!(views[0].timestamps.len(), 8);
//! # Ok::<(), marey_clip::TimelineError>(())
//! ```

mod time;

mod frame;

mod classes;

mod sampling;

mod seed;

pub use classes::{ClassList, ClassListError};
pub use frame::{Clip, Frame, Pixels, Size};
pub use sampling::{ClipPlan, Sampling, SamplingError, SamplingMode};
pub use seed::{SeededRng, rng_for};
pub use time::{Rational, Span, Timeline, TimelineError, Timestamp};
