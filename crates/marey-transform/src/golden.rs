//! Torchvision's results on one small clip (`reference/transform_golden.py`), against ours.

use burn::tensor::{Device, Tolerance};
use marey_clip::{Clip, Pixels, Timestamp};
use safetensors::SafeTensors;

use crate::{
    Preprocess, Resize,
    augment::{
        affine::{Motion, Warp},
        blur::Kernel,
        change::{Canvas, Change, until_whole_clip},
        color::Step,
        policy::{Op, Space},
        weather::SnowTable,
    },
    resample::{Axis, Resampler},
};

const GOLDEN: &[u8] = include_bytes!("../tests/golden/transform.safetensors");

/// Largest difference that a tensor may show, in levels of 255.
const RESIZE_LEVELS: u8 = 1;
const COLOR_LEVELS: u8 = 2;

fn golden(name: &str) -> (Vec<usize>, Vec<u8>) {
    let file = SafeTensors::deserialize(GOLDEN).expect("the golden file is whole");
    let tensor = file
        .tensor(name)
        .expect("the golden file holds this tensor");
    (tensor.shape().to_vec(), tensor.data().to_vec())
}

fn floats(name: &str) -> Vec<f32> {
    let (_, bytes) = golden(name);
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

fn clip(name: &str) -> Clip {
    let (dims, pixels) = golden(name);
    let dims: [usize; 4] = dims.try_into().expect("a clip has four dimensions");
    Clip::new(dims, Pixels::U8(pixels), vec![Timestamp::ZERO; dims[0]])
}

fn bytes(clip: &Clip) -> &[u8] {
    match clip.pixels() {
        Pixels::U8(values) => values,
        Pixels::F32(_) => panic!("the clip holds floats"),
    }
}

fn check(name: &str, ours: &[u8], levels: u8) {
    let (_, theirs) = golden(name);
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let largest = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(largest <= Some(levels), "{name}: {largest:?} levels apart");
}

#[test]
fn resize_and_centre_crop() {
    let source = clip("source");
    let mut preprocess = Preprocess::new([20, 28], Resize::ShortSide);
    preprocess.short_side = Some(24);
    let ours = preprocess.spatial(&source).expect("a clip of light");
    check("short_side", bytes(&ours), RESIZE_LEVELS);
    for (name, size) in [
        ("stretch_down", [16, 20]),
        ("stretch_up", [70, 100]),
        ("stretch_mixed", [70, 20]),
    ] {
        let ours = Preprocess::new(size, Resize::Stretch)
            .spatial(&source)
            .expect("a clip of light");
        check(name, bytes(&ours), RESIZE_LEVELS);
    }
}

#[test]
fn resized_crops() {
    let source = clip("source");
    let [t, height, width, c] = source.dims();
    for (name, [top, left, crop_height, crop_width]) in [
        ("resized_crop", [5, 9, 31, 40]),
        ("resized_crop_up", [30, 44, 12, 13]),
    ] {
        let axes = [
            Axis::part(top, crop_height, 20),
            Axis::part(left, crop_width, 28),
        ];
        let mut resampler = Resampler::new(axes, source.size(), c);
        let mut ours = vec![0; t * 20 * 28 * c];
        let frames = bytes(&source).chunks_exact(height * width * c);
        for (frame, out) in frames.zip(ours.chunks_exact_mut(20 * 28 * c)) {
            resampler.frame(frame, out);
        }
        check(name, &ours, RESIZE_LEVELS);
    }
}

#[test]
fn colours() {
    let source = clip("source");
    for (name, step) in [
        ("brightness:0.6", Step::Brightness(0.6)),
        ("brightness:1.3", Step::Brightness(1.3)),
        ("contrast:0.5", Step::Contrast(0.5)),
        ("contrast:1.4", Step::Contrast(1.4)),
        ("saturation:0.3", Step::Saturation(0.3)),
        ("saturation:1.7", Step::Saturation(1.7)),
        ("hue:-0.3", Step::Hue(-0.3)),
        ("hue:0.1", Step::Hue(0.1)),
    ] {
        let mut ours = bytes(&source).to_vec();
        ours.chunks_exact_mut(bytes(&source).len() / source.dims()[0])
            .for_each(|frame| step.apply(frame));
        check(name, &ours, COLOR_LEVELS);
    }
}

/// Makes `changes` to the tensor `from`, and compares what comes out with the tensor `name`.
fn check_changes(from: &str, name: &str, changes: &[Change], levels: u8) {
    let clip = clip(from);
    let [_, height, width, _] = clip.dims();
    let mut ours = bytes(&clip).to_vec();
    let mut canvas = Canvas::new([height, width]);
    let (frame_by_frame, later) = until_whole_clip(changes);
    for (idx, frame) in ours.chunks_exact_mut(height * width * 3).enumerate() {
        canvas.apply(frame_by_frame, idx, frame);
    }
    canvas.finish(later, &mut ours);
    check(name, &ours, levels);
}

#[test]
fn levels_of_the_whole_clip() {
    check_changes("source", "grayscale", &[Change::Grayscale], 1);
    check_changes("dim", "autocontrast", &[Change::AutoContrast], 0);
    check_changes("dim", "equalize", &[Change::Equalize], 0);
}

#[test]
fn blurs() {
    for (name, side, sigma) in [
        ("blur:5:0.3", 5, 0.3),
        ("blur:5:1.7", 5, 1.7),
        ("blur:9:2.5", 9, 2.5),
    ] {
        let blur = Change::Blur(Kernel::gaussian(side, sigma));
        check_changes("source", name, &[blur], RESIZE_LEVELS);
    }
}

#[test]
fn affine_maps() {
    let [_, height, width, _] = clip("source").dims();
    let motion = Motion {
        degrees: 17.0,
        translate: [5.0, -3.0],
        scale: 0.8,
        ..Motion::default()
    };
    let warp = Change::Warp(Warp::new(motion, [height, width], [0; 3]));
    check_changes("source", "affine", &[warp], RESIZE_LEVELS);
}

#[test]
fn every_entry_of_both_policies() {
    let [_, height, width, _] = clip("small").dims();
    let spaces = [
        (
            "rand",
            Space::rand_augment([height, width], [0; 3]),
            19,
            -1.0,
        ),
        (
            "trivial",
            Space::trivial_augment([height, width], [0; 3]),
            11,
            1.0,
        ),
    ];
    for (name, space, step, sign) in spaces {
        for op in Op::ALL {
            let sign = if op.is_signed() { sign } else { 1.0 };
            let change = space.change(op, sign * f64::from(step) / 30.0);
            let changes: Vec<Change> = change.into_iter().collect();
            check_changes("small", &format!("{name}:{op:?}"), &changes, COLOR_LEVELS);
        }
    }
}

#[test]
fn lying_snow() {
    let snow = Change::Snow(SnowTable::new(0.45, 2.5));
    check_changes("small", "snow", &[snow], 1);
}

#[test]
fn normalized_input() {
    let source = clip("source");
    let [t, h, w, c] = source.dims();
    let preprocess = Preprocess::new([h, w], Resize::Stretch);
    let device = Device::flex();
    let input = preprocess.to_input(bytes(&source).to_vec(), [1, t, h, w, c], &device);
    assert_eq!(input.dims(), [1, t, h, w, c]);
    let theirs = burn::tensor::TensorData::new(floats("normalized"), [1, t, h, w, c]);
    input
        .into_data()
        .assert_approx_eq(&theirs, Tolerance::<f32>::absolute(1e-6));
}

#[test]
fn temperatures_become_light_by_truncation() {
    let (dims, _) = golden("celsius");
    let dims: [usize; 4] = dims.try_into().expect("a clip has four dimensions");
    let celsius = Clip::new(
        dims,
        Pixels::F32(floats("celsius")),
        vec![Timestamp::ZERO; dims[0]],
    );
    let mut preprocess = Preprocess::new([dims[1], dims[2]], Resize::Stretch);
    preprocess.temperature = Some([5.0, 45.0]);
    let ours = preprocess
        .spatial(&celsius)
        .expect("a clip of temperatures");
    assert!(
        bytes(&ours)
            .chunks_exact(3)
            .all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
    );
    let first: Vec<u8> = bytes(&ours).chunks_exact(3).map(|pixel| pixel[0]).collect();
    check("celsius_light", &first, 0);
}
