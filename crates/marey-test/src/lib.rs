//! Synthetic videos with a known truth, for tests and for `marey demo`.
//!
//! For: a motion data set that one frame cannot solve ([`write_motion_set`]), sets in the layouts of others with their
//! faults ([`write_anomaly_set`], [`write_cattle_set`], [`write_thermal_set`]), and writers of the video formats that the default build reads
//! ([`write_gif`], [`write_image_folder`], [`write_mjpeg_avi`], [`write_mjpeg_mp4`]).
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

mod mp4;

mod scene;

mod anomaly;

mod cattle;

mod hdf5;

mod thermal;

use std::path::{Path, PathBuf};

pub use anomaly::{ANOMALY_CLASSES, AnomalySet, AnomalySize, NORMAL_CLASS, write_anomaly_set};
pub use cattle::{CATTLE_ROOT, CattleSet, write_cattle_set};
pub use image::RgbImage;
pub use motion::{Motion, MotionPath, Pose};
pub use mp4::write_mjpeg_mp4;
pub use render::{Colour, FRAME_SIDE_PX, Look, Shape};
pub use set::{FRAMES_PER_CLIP, MotionSet, render_clip, write_motion_set};
pub use thermal::{ThermalSet, write_thermal_set};
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
