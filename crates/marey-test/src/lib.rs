//! Synthetic videos with a known truth, for tests and for `marey demo`.
//!
//! For: a motion data set that one frame cannot solve ([`write_motion_set`]), and writers of the video formats that
//! the default build reads ([`write_gif`], [`write_image_folder`], [`write_mjpeg_avi`]).
//! Not for: reading files, tensors, or anything a trained model needs.
//!
//! ```
//! let dir = tempfile::tempdir()?;
//! let set = marey_test::write_motion_set(dir.path(), 2, 7)?;
//! assert_eq!(set.num_clips, 8);
//! assert!(std::fs::read_to_string(set.manifest)?.starts_with("path,label,group"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod motion;

mod render;

mod set;

mod write;

use std::path::{Path, PathBuf};

pub use image::RgbImage;
pub use motion::{Motion, MotionPath, Pose};
pub use render::{Colour, FRAME_SIDE_PX, Look, Shape};
pub use set::{FRAMES_PER_CLIP, MotionSet, render_clip, write_motion_set};
pub use write::{write_gif, write_image_folder, write_mjpeg_avi};

/// The folder of test data that lies beside the project: `$MAREY_SHARED/data`, else `../shared/data` seen from the
/// workspace root; `None` where there is none, and a test that wants it says so and returns.
pub fn shared_data() -> Option<PathBuf> {
    let root = match std::env::var_os("MAREY_SHARED") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    let data = root.join("data");
    data.is_dir().then_some(data)
}
