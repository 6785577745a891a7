//! The motion data set: GIF clips and a manifest, for tests and for `marey demo`.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use image::RgbImage;
use marey_clip::rng_for;

use crate::{
    motion::{Motion, MotionPath},
    render::{Colour, Look, Shape},
    write::write_gif,
};

/// Frames of a clip, at 25 frames per second.
pub const FRAMES_PER_CLIP: usize = 24;
const FRAME_MS: u32 = 40;

/// What [`write_motion_set`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MotionSet {
    /// The manifest: columns `path,label,group,shape,colour`, paths relative to its folder.
    pub manifest: PathBuf,
    /// Clips in all classes together.
    pub num_clips: usize,
    /// Class names, in the order of [`Motion::ALL`].
    pub classes: Vec<String>,
    /// Different values of `group`, a shape with its colour; at most 30.
    pub num_groups: usize,
}

/// Writes `clips_per_class` clips of each [`Motion`] to `dir/clips` as animated GIFs, and `dir/manifest.csv`.
///
/// Each class gets the same shapes in the same colours, equally often, so a split by `group` keeps all classes on both
/// sides and asks for motion on shapes that training never saw. The same `seed` writes the same bytes.
///
/// # Errors
/// When a file cannot be written; the message names it.
pub fn write_motion_set(dir: &Path, clips_per_class: usize, seed: u64) -> io::Result<MotionSet> {
    let clips = dir.join("clips");
    fs::create_dir_all(&clips).map_err(|e| named(&clips, &e))?;
    let mut rows = String::from("path,label,group,shape,colour\n");
    for motion in Motion::ALL {
        for idx in 0..clips_per_class {
            let (shape, colour) = subject(idx);
            let file = format!("{}_{idx:03}.gif", motion.name());
            let frames = render_clip(motion, shape, colour, seed, idx);
            write_gif(&clips.join(&file), &frames, FRAME_MS)?;
            let (label, shape, colour) = (motion.name(), shape.name(), colour.name());
            writeln!(
                rows,
                "clips/{file},{label},{shape}_{colour},{shape},{colour}"
            )
            .expect("a string takes every write");
        }
    }
    let manifest = dir.join("manifest.csv");
    fs::write(&manifest, rows).map_err(|e| named(&manifest, &e))?;
    Ok(MotionSet {
        manifest,
        num_clips: clips_per_class * Motion::ALL.len(),
        classes: Motion::ALL.map(|m| m.name().to_owned()).to_vec(),
        num_groups: clips_per_class.min(Shape::ALL.len() * Colour::ALL.len()),
    })
}

/// The frames of one clip of the set: number `idx` of its class.
pub fn render_clip(
    motion: Motion,
    shape: Shape,
    colour: Colour,
    seed: u64,
    idx: usize,
) -> Vec<RgbImage> {
    let rng = &mut rng_for(seed, motion as u64, idx as u64, 0);
    let path = MotionPath::draw(motion, rng);
    let look = Look::draw(shape, colour, rng);
    (0..FRAMES_PER_CLIP)
        .map(|frame| look.paint(path.at(frame), rng))
        .collect()
}

/// Shape and colour of clip `idx` of every class. Consecutive clips differ in both, so that few clips hold many shapes.
fn subject(idx: usize) -> (Shape, Colour) {
    // 5 shapes and 6 colours share no factor, so this walks through all 30 pairs.
    (
        Shape::ALL[idx % Shape::ALL.len()],
        Colour::ALL[idx % Colour::ALL.len()],
    )
}

/// The same error with the file's name in front.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn thirty_clips_hold_every_shape_in_every_colour() {
        let subjects: HashSet<_> = (0..30).map(subject).collect();
        assert_eq!(subjects.len(), 30);
    }

    #[test]
    fn the_same_seed_writes_the_same_bytes_and_another_does_not() {
        let write = |seed| {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let set = write_motion_set(dir.path(), 2, seed).expect("written");
            assert_eq!((set.num_clips, set.num_groups), (8, 2));
            let manifest = fs::read_to_string(&set.manifest).expect("a manifest");
            let clip = fs::read(dir.path().join("clips/circular_001.gif")).expect("a clip");
            (manifest, clip)
        };
        let (manifest, clip) = write(5);
        assert_eq!(write(5), (manifest.clone(), clip.clone()));
        assert_ne!(write(6).1, clip);
        assert_eq!(manifest.lines().count(), 9);
        assert_eq!(
            manifest.lines().nth(2),
            Some("clips/horizontal_001.gif,horizontal,square_green,square,green")
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("taken");
        fs::write(&file, "").expect("written");
        let error = write_motion_set(&file, 1, 0).expect_err("a file is in the way");
        assert!(error.to_string().contains("taken"), "{error}");
    }
}
