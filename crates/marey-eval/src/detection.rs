//! Boxes in pictures: intersection over union and average precision, beside a box that always covers the whole picture.

use crate::bootstrap::Units;
use crate::counts::weighted_total;
use crate::draws::{Described, Draws};
use crate::{Bootstrap, Error, ErrorKind, Figure, Scale};

/// An upright rectangle; any unit, the same for all boxes of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge, above `left`.
    pub right: f64,
    /// Lower edge, above `top`.
    pub bottom: f64,
}

impl Rectangle {
    /// Its area.
    pub fn area(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// Intersection over union: 0 apart, 1 equal.
    pub fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        let both = width.max(0.0) * height.max(0.0);
        both / (self.area() + other.area() - both)
    }

    fn is_sound(&self) -> bool {
        let edges = [self.left, self.top, self.right, self.bottom];
        edges.iter().all(|edge| edge.is_finite())
            && self.left < self.right
            && self.top < self.bottom
    }
}

/// A picture with what is in it and what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Its unique name.
    pub name: String,
    /// What it shares with other pictures (video, camera), if known.
    pub group: Option<String>,
    /// The whole picture.
    pub frame: Rectangle,
    /// Class and box of everything in it.
    pub truths: Vec<(usize, Rectangle)>,
    /// Class, box and score of everything that was found.
    pub found: Vec<(usize, Rectangle, f64)>,
}

/// Judges boxes: `ap50`, average precision where a box must overlap by 0.5, and `ap50_95`, its mean over overlaps of 0.5, 0.55, …, 0.95;
/// both averaged over the classes that occur.
///
/// Average precision is the area under the envelope of the precision-recall curve at 101 recalls, as Ultralytics computes it: a perfect
/// detector gets 0.995. The baseline is a box around the whole picture, of every class, in every picture.
///
/// # Errors
/// No pictures, one given twice, no true box, a class out of range, a box without area or with an edge or score that is not finite, fewer
/// than 2 draws.
pub fn judge_boxes(
    num_classes: usize,
    pictures: &[Picture],
    bootstrap: &Bootstrap,
) -> Result<Vec<Figure>, Error> {
    check(num_classes, pictures)?;
    let keys: Vec<(&str, Option<&str>)> = pictures
        .iter()
        .map(|picture| (picture.name.as_str(), picture.group.as_deref()))
        .collect();
    let whole = |picture: &Picture| Picture {
        found: (0..num_classes)
            .map(|class| (class, picture.frame, 1.0))
            .collect(),
        ..picture.clone()
    };
    let baseline: Vec<Picture> = pictures.iter().map(whole).collect();
    let curves = [pictures, &baseline].map(|pictures| Curves::of(num_classes, pictures));
    let draws = Draws::collect(
        Units::of(&keys, bootstrap)?,
        pictures.len(),
        &mut |weights| {
            let [ours, theirs] = [0, 1].map(|who| curves[who].means(weights));
            match (ours, theirs) {
                (Some(ours), Some(theirs)) => {
                    [ours[0], theirs[0], ours[1], theirs[1]].map(Some).to_vec()
                }
                _ => vec![None; 4],
            }
        },
    );
    let of = |name, title, overlaps: &str| Described {
        name,
        title,
        definition: format!(
            "mean over the classes that occur of the area under the envelope of the precision-recall curve, at 101 \
             recalls; a box is right if it overlaps a true one of its class, not yet taken by a surer box, by {overlaps} \
             (intersection over union). Perfect is 99.5 %"
        ),
        scale: Scale::Share,
        support: pictures.iter().map(|picture| picture.truths.len()).sum(),
        successes: None,
        baseline: "a box around the whole picture, of every class".into(),
    };
    let described = [
        of("ap50", "AP50 of boxes", "0.5"),
        of(
            "ap50_95",
            "AP50-95 of boxes",
            "0.5 to 0.95, averaged over ten steps",
        ),
    ];
    let described = described.into_iter().enumerate();
    Ok(described
        .filter_map(|(idx, of)| draws.figure([2 * idx, 2 * idx + 1], of))
        .collect())
}

const OVERLAPS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// For each class the found boxes of all pictures, the surest first.
struct Curves {
    /// By class, each box's picture and at which of [`OVERLAPS`] it is right. A box that is right at one overlap need not be right at a
    /// lower one, where another box may have taken its place.
    ranked: Vec<Vec<(usize, [bool; 10])>>,
    /// Number of true boxes by class and picture.
    truths: Vec<Vec<u64>>,
}

impl Curves {
    fn of(num_classes: usize, pictures: &[Picture]) -> Self {
        let of_class = |class: usize| {
            let mut ranked: Vec<(f64, &str, usize, [bool; 10])> = Vec::new();
            for (idx, picture) in pictures.iter().enumerate() {
                for (score, is_right) in matches(picture, class) {
                    ranked.push((score, &picture.name, idx, is_right));
                }
            }
            // By name among equals, so that the order of the pictures changes nothing.
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
            ranked
                .into_iter()
                .map(|(_, _, idx, is_right)| (idx, is_right))
                .collect()
        };
        let count = |picture: &Picture, class: usize| {
            picture
                .truths
                .iter()
                .filter(|truth| truth.0 == class)
                .count() as u64
        };
        Self {
            ranked: (0..num_classes).map(of_class).collect(),
            truths: (0..num_classes)
                .map(|class| {
                    pictures
                        .iter()
                        .map(|picture| count(picture, class))
                        .collect()
                })
                .collect(),
        }
    }

    /// AP50 and AP50-95, each picture as often as its weight says; `None` without a true box.
    fn means(&self, weights: &[u32]) -> Option<[f64; 2]> {
        let (mut sums, mut num_classes) = ([0.0; 2], 0.0);
        for (ranked, truths) in self.ranked.iter().zip(&self.truths) {
            let truths = weighted_total(truths, weights);
            if truths == 0 {
                continue;
            }
            num_classes += 1.0;
            for at in 0..OVERLAPS.len() {
                let boxes = ranked
                    .iter()
                    .map(|&(picture, is_right)| (weights[picture], is_right[at]));
                let area = area_at_101_recalls(boxes, truths);
                sums[0] += if at == 0 { area } else { 0.0 };
                sums[1] += area / OVERLAPS.len() as f64;
            }
        }
        (num_classes > 0.0).then(|| sums.map(|sum| sum / num_classes))
    }
}

/// Score of each found box of a class, and at which overlaps it is right: greedily, the surest first, each true box once.
fn matches(picture: &Picture, class: usize) -> Vec<(f64, [bool; 10])> {
    let truths: Vec<&Rectangle> = picture
        .truths
        .iter()
        .filter(|truth| truth.0 == class)
        .map(|truth| &truth.1)
        .collect();
    let mut found: Vec<&(usize, Rectangle, f64)> = picture
        .found
        .iter()
        .filter(|found| found.0 == class)
        .collect();
    found.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut is_taken = vec![[false; 10]; truths.len()];
    let judged = found.into_iter().map(|(_, area, score)| {
        let mut is_right = [false; 10];
        for (at, &needed) in OVERLAPS.iter().enumerate() {
            let best = (0..truths.len())
                .filter(|&truth| !is_taken[truth][at] && truths[truth].overlap(area) >= needed)
                .max_by(|&a, &b| truths[a].overlap(area).total_cmp(&truths[b].overlap(area)));
            if let Some(truth) = best {
                is_taken[truth][at] = true;
                is_right[at] = true;
            }
        }
        (*score, is_right)
    });
    judged.collect()
}

/// The area under the envelope of the precision-recall curve of weighted boxes by falling score, by the trapezoid rule over 101 recalls.
fn area_at_101_recalls(boxes: impl Iterator<Item = (u32, bool)>, truths: u64) -> f64 {
    let (mut right, mut all) = (0_u64, 0_u64);
    let mut recall = vec![0.0];
    let mut precision = vec![1.0];
    for (weight, is_right) in boxes.filter(|&(weight, _)| weight > 0) {
        all += u64::from(weight);
        right += u64::from(weight) * u64::from(is_right);
        recall.push(right as f64 / truths as f64);
        precision.push(right as f64 / all as f64);
    }
    recall.push(1.0);
    precision.push(0.0);
    for i in (1..precision.len()).rev() {
        precision[i - 1] = precision[i - 1].max(precision[i]);
    }
    // As numpy.interp: the last point at or before, and a straight line to the next.
    let mut after = 0;
    let heights: Vec<f64> = (0..=100)
        .map(|step| {
            let x = f64::from(step) / 100.0;
            while after < recall.len() && recall[after] <= x {
                after += 1;
            }
            if after == recall.len() {
                return precision[after - 1];
            }
            let [x0, x1] = [recall[after - 1], recall[after]];
            let [y0, y1] = [precision[after - 1], precision[after]];
            y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        })
        .collect();
    heights
        .windows(2)
        .map(|pair| (pair[0] + pair[1]) / 200.0)
        .sum()
}

/// Refuses what no figure can be made of.
fn check(num_classes: usize, pictures: &[Picture]) -> Result<(), Error> {
    if pictures.is_empty() {
        return Err(ErrorKind::NoItems.into());
    }
    let mut seen = std::collections::HashSet::new();
    for Picture {
        name,
        frame,
        truths,
        found,
        ..
    } in pictures
    {
        if !seen.insert(name) {
            return Err(ErrorKind::Duplicate { item: name.clone() }.into());
        }
        let classes = truths
            .iter()
            .map(|truth| truth.0)
            .chain(found.iter().map(|found| found.0));
        if let Some(class) = classes.into_iter().find(|&class| class >= num_classes) {
            return Err(ErrorKind::NoClass {
                class,
                classes: num_classes,
            }
            .into());
        }
        let areas = truths
            .iter()
            .map(|truth| &truth.1)
            .chain(found.iter().map(|found| &found.1));
        if areas.chain([frame]).any(|area| !area.is_sound()) {
            return Err(ErrorKind::Rectangle {
                picture: name.clone(),
            }
            .into());
        }
        if found.iter().any(|found| !found.2.is_finite()) {
            return Err(ErrorKind::Score { item: name.clone() }.into());
        }
    }
    match pictures.iter().all(|picture| picture.truths.is_empty()) {
        true => Err(ErrorKind::OneSided("true").into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Rectangle = Rectangle {
        left: 0.0,
        top: 0.0,
        right: 640.0,
        bottom: 480.0,
    };
    const BOOTSTRAP: Bootstrap = Bootstrap { draws: 50, seed: 0 };

    fn square(left: f64) -> Rectangle {
        Rectangle {
            left,
            top: 0.0,
            right: left + 10.0,
            bottom: 10.0,
        }
    }

    fn picture(
        idx: usize,
        truths: Vec<(usize, Rectangle)>,
        found: Vec<(usize, Rectangle, f64)>,
    ) -> Picture {
        Picture {
            name: format!("{idx:03}"),
            group: None,
            frame: FRAME,
            truths,
            found,
        }
    }

    /// The accident set of the reference systems: every box is the whole frame and no picture is without one, so that 99.5 % says
    /// nothing.
    #[test]
    fn a_constant_box_gets_all_of_a_set_of_full_frames() {
        let pictures: Vec<Picture> = (0..22)
            .map(|i| picture(i, vec![(0, FRAME)], vec![(0, FRAME, 0.9)]))
            .collect();
        let found = judge_boxes(1, &pictures, &BOOTSTRAP).expect("sound pictures");
        for figure in found {
            assert!((figure.value - 0.995).abs() < 1e-12, "{figure:?}");
            assert_eq!(figure.value, figure.baseline.value);
            assert_eq!(figure.standing(), crate::Standing::Undecided);
        }
    }

    #[test]
    fn each_true_box_is_found_once() {
        let pictures = [
            // The surer box overlaps by 8 / 12 and takes the true one up to an overlap of 0.65; the exact one has it above.
            picture(
                0,
                vec![(0, square(0.0))],
                vec![(0, square(2.0), 0.9), (0, square(0.0), 0.8)],
            ),
            picture(1, vec![(0, square(50.0))], vec![]),
        ];
        let judged = matches(&pictures[0], 0);
        let right: Vec<usize> = judged
            .iter()
            .map(|(_, at)| at.iter().filter(|&&is| is).count())
            .collect();
        assert_eq!(right, [4, 6]);
        assert!(judge_boxes(1, &pictures, &BOOTSTRAP).is_ok());
    }

    #[test]
    fn unusable_pictures_are_refused() {
        let flat = Rectangle {
            right: 0.0,
            ..square(0.0)
        };
        let cases = [
            (vec![], "no items"),
            (vec![picture(0, vec![], vec![])], "no true item"),
            (
                vec![picture(0, vec![(1, FRAME)], vec![])],
                "class 1 is not among",
            ),
            (
                vec![picture(0, vec![(0, flat)], vec![])],
                "a box without area",
            ),
            (
                vec![picture(0, vec![(0, FRAME)], vec![(0, FRAME, f64::NAN)])],
                "not finite",
            ),
            (
                vec![picture(0, vec![(0, FRAME)], vec![]); 2],
                "appears twice",
            ),
        ];
        for (pictures, expected) in cases {
            let error = judge_boxes(1, &pictures, &BOOTSTRAP).expect_err(expected);
            assert!(
                error.kind().to_string().contains(expected),
                "{}",
                error.kind()
            );
        }
    }
}
