//! Torchvision's results on one small clip (`reference/transform_golden.py`), against ours.

use burn::tensor::{Device, Tolerance};
use marey_clip::{Clip, Pixels, Timestamp};
use safetensors::SafeTensors;

use crate::{
    Preprocess, Resize,
    color::{ColorDraw, Step},
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
        let draw = ColorDraw { steps: vec![step] };
        ours.chunks_exact_mut(bytes(&source).len() / source.dims()[0])
            .for_each(|f| draw.apply(f));
        check(name, &ours, COLOR_LEVELS);
    }
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
