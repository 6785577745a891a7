//! [`SpatialViews`]: the parts of a frame that are looked at when a model is judged.

use marey_clip::{Clip, Size};

use crate::{Error, Preprocess, Resize, resample::Axis};

/// Crops of one clip, each with its mirror image or without, whose scores are taken together when judging.
///
/// Three crops along the longer side are those of Feichtenhofer et al., "SlowFast", section 4.1; five (the middle and the
/// corners) with mirror images are the ten of Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural
/// Networks", section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpatialViews {
    /// 1 is the middle; 3 are the start, the middle and the end of the longer side; 5 are the middle and the corners.
    pub crops: usize,
    /// Whether each crop is looked at in the mirror (left and right swapped) as well.
    pub flip: bool,
}

impl Default for SpatialViews {
    fn default() -> Self {
        Self {
            crops: 1,
            flip: false,
        }
    }
}

impl SpatialViews {
    /// Clips that one clip becomes.
    pub const fn count(self) -> usize {
        self.crops * if self.flip { 2 } else { 1 }
    }

    /// Checks what a person wrote.
    ///
    /// # Errors
    /// When there is no such number of crops, or several have no effect, because `preprocess` keeps all of the frame.
    pub fn validate(self, preprocess: &Preprocess) -> Result<(), Error> {
        let problem = match self.crops {
            1 => return Ok(()),
            3 | 5 if preprocess.resize == Resize::Stretch => {
                format!(
                    "{} has no effect with preprocess.resize = \"stretch\", which keeps all of the frame: use 1",
                    self.crops
                )
            }
            3 | 5 => return Ok(()),
            crops => format!(
                "{crops} is no number of crops: use 1 (the middle), 3 (along the longer side) or 5 (the middle and the corners)"
            ),
        };
        Err(Error::config("eval.crops", problem))
    }
}

impl Preprocess {
    /// The clip as each of `views`, at the size of the model's input, without randomness: each crop in order, followed by its
    /// mirror image where there are any. With `SpatialViews::default()` it is [`Preprocess::spatial`].
    ///
    /// # Shapes
    /// - `clip`: as [`Preprocess::spatial`]
    /// - output: [`SpatialViews::count`] clips, `u8` `[t, size[0], size[1], 3]` each
    ///
    /// # Errors
    /// As [`Preprocess::spatial`].
    pub fn spatial_views(&self, clip: &Clip, views: SpatialViews) -> Result<Vec<Clip>, Error> {
        let source = self.source(clip)?;
        let mut clips = Vec::with_capacity(views.count());
        for [rows, columns] in self.crops(clip.size(), views.crops) {
            clips.push(source.resample([rows.clone(), columns.clone()], None, clip));
            if views.flip {
                clips.push(source.resample([rows, columns.mirrored()], None, clip));
            }
        }
        Ok(clips)
    }

    /// `[rows, columns]` of each crop.
    fn crops(&self, from: Size, num_crops: usize) -> Vec<[Axis; 2]> {
        let to = self.resized_size(from);
        let [height, width] = self.size;
        let [down, right] = [to.height - height, to.width - width];
        let crop = |top: usize, left: usize| {
            [
                Axis::whole(from.height, to.height).window(top, height),
                Axis::whole(from.width, to.width).window(left, width),
            ]
        };
        let middle = self.centre(from);
        match num_crops {
            3 => {
                let [rows, columns] = middle.clone();
                let ends = if right >= down {
                    [0, right].map(|left| [rows.clone(), crop(0, left)[1].clone()])
                } else {
                    [0, down].map(|top| [crop(top, 0)[0].clone(), columns.clone()])
                };
                let [start, end] = ends;
                vec![start, middle, end]
            }
            5 => vec![
                middle,
                crop(0, 0),
                crop(0, right),
                crop(down, 0),
                crop(down, right),
            ],
            _ => vec![middle],
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::{Pixels, Timestamp};

    use super::*;

    /// A frame of one row of blocks whose values are their columns.
    fn columns(width: usize) -> Clip {
        let pixels = (0..4 * width * 3)
            .map(|i| (i / 3 % width) as u8 * 10)
            .collect();
        Clip::new([1, 4, width, 3], Pixels::U8(pixels), vec![Timestamp::ZERO])
    }

    /// The values of the first row, one a pixel.
    fn row(clip: &Clip) -> Vec<u8> {
        let Pixels::U8(values) = clip.pixels() else {
            panic!("bytes")
        };
        let [_, _, width, _] = clip.dims();
        values[..width * 3].iter().step_by(3).copied().collect()
    }

    #[test]
    fn three_crops_lie_along_the_longer_side_and_mirrors_follow() {
        let preprocess = Preprocess::new([4, 4], Resize::ShortSide);
        let views = |crops, flip| {
            let views = SpatialViews { crops, flip };
            let clips = preprocess
                .spatial_views(&columns(8), views)
                .expect("a clip");
            assert_eq!(clips.len(), views.count());
            clips.iter().map(row).collect::<Vec<_>>()
        };
        let [start, middle, end] = [
            vec![0, 10, 20, 30],
            vec![20, 30, 40, 50],
            vec![40, 50, 60, 70],
        ];
        assert_eq!(
            views(3, false),
            [start.clone(), middle.clone(), end.clone()]
        );
        let mirror: Vec<u8> = middle.iter().rev().copied().collect();
        assert_eq!(views(1, true), [middle.clone(), mirror]);
        let (a, b) = (start.clone(), end.clone());
        assert_eq!(views(5, false), [middle, a, b, start, end]);
    }

    #[test]
    fn one_view_is_the_plain_way() {
        let preprocess = Preprocess::new([3, 5], Resize::ShortSide);
        let clip = columns(9);
        let one = preprocess
            .spatial_views(&clip, SpatialViews::default())
            .expect("a clip");
        assert_eq!(one, [preprocess.spatial(&clip).expect("a clip")]);
    }

    #[test]
    fn crops_that_cannot_work_are_refused() {
        let short = Preprocess::new([4, 4], Resize::ShortSide);
        let stretch = Preprocess::new([4, 4], Resize::Stretch);
        let views = |crops| SpatialViews { crops, flip: true };
        assert_eq!(views(5).validate(&short), Ok(()));
        assert_eq!(views(1).validate(&stretch), Ok(()));
        for (crops, preprocess, part) in [
            (3, &stretch, "has no effect with preprocess.resize"),
            (2, &short, "no number of crops"),
            (0, &short, "no number of crops"),
        ] {
            let error = views(crops).validate(preprocess).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
