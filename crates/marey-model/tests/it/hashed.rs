//! Values by name and index instead of large files: the same arithmetic as `reference/model_golden.py`.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use marey_model::{Model, ModelConfig, weights};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// `num` values in [-1, 1): FNV-1a of the name, then splitmix64 of the index.
pub(crate) fn hashed(name: &str, num: usize) -> impl Iterator<Item = f64> + use<> {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325, fnv);
    (1..=num as u64).map(move |idx| {
        let z = seed.wrapping_add(idx.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

pub(crate) fn weight_of(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape[1..].iter().product();
    let value = |u: f64| match shape.len() {
        _ if name.ends_with(".running_mean") => 0.1 * u,
        _ if name.ends_with(".running_var") => 1.0 + 0.5 * u,
        4.. => u * (6.0 / fan_in as f64).sqrt(),
        2.. => u * (3.0 / fan_in as f64).sqrt(),
        _ if name.ends_with(".weight") => 1.0 + 0.2 * u,
        _ => 0.1 * u,
    };
    hashed(name, shape.iter().product())
        .map(|u| value(u) as f32)
        .collect()
}

/// The shape that PyTorch gives a parameter of ours.
pub(crate) fn pytorch_shape(shape: &[usize]) -> Vec<usize> {
    match shape {
        [o, kernel @ .., i] if shape.len() >= 4 => [&[*o, *i], kernel].concat(),
        _ => shape.to_vec(),
    }
}

pub(crate) fn clips(dims: [usize; 5], device: &Device) -> Tensor<5> {
    let values: Vec<f32> = hashed("clips", dims.iter().product())
        .map(|u| u as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// Frequencies down and across, phase and amplitude of the waves of [`moving`].
const WAVES: [[f64; 4]; 4] = [
    [0.11, 0.23, 0.3, 0.33],
    [-0.29, 0.17, 1.1, 0.29],
    [0.47, 0.05, 2.0, 0.21],
    [0.21, -0.61, 0.7, 0.17],
];

/// A texture that moves by another step in each clip, for networks that look for optical flow: noise has none.
pub(crate) fn moving(dims: [usize; 5], device: &Device) -> Tensor<5> {
    let [_, t, h, w, c] = dims;
    let value = |at: usize| {
        let place = [at / (t * h * w * c), at / (h * w * c) % t, at / (w * c) % h];
        let [clip, frame, y] = place.map(|at| at as f64);
        let (x, channel) = ((at / c % w) as f64, (at % c) as f64);
        let (y, x) = (
            y - (0.8 - 0.5 * clip) * frame,
            x + (1.3 - 0.7 * clip) * frame,
        );
        let wave = |[down, across, phase, amplitude]: [f64; 4]| {
            amplitude * (down * y + across * x + phase + 0.3 * channel).sin()
        };
        WAVES.map(wave).iter().sum::<f64>() as f32
    };
    let values: Vec<f32> = (0..dims.iter().product()).map(value).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// A model of the published size with hashed weights, through a file as PyTorch would write it.
pub(crate) fn model(config: &ModelConfig, num_classes: usize, device: &Device) -> Model {
    let mut config = config.clone();
    config.dropout = Some(0.0);
    let model = config
        .init(num_classes, &mut marey_clip::rng_for(0, 0, 0, 0), device)
        .expect("valid");
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = weights::parameters(&model)
        .into_iter()
        .map(|parameter| {
            let shape = pytorch_shape(&parameter.shape);
            let bytes = weight_of(&parameter.name, &shape)
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect();
            (parameter.name, shape, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).expect("fits its shape"),
        )
    });
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hashed.safetensors");
    safetensors::serialize_to_file(views, None, &path).expect("written");
    let (model, report) =
        weights::import(model, &path, &weights::ImportOptions::default()).expect("its own names");
    assert_eq!(
        (
            report.loaded.len(),
            report.missing.len(),
            report.unused.len()
        ),
        (data.len(), 0, 0)
    );
    model
}

pub(crate) fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The tensors of a golden file: name, shape, values.
pub(crate) fn golden(name: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(golden_path(name)).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = |view: &TensorView<'_>| {
        view.data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect()
    };
    file.tensors()
        .into_iter()
        .map(|(name, view)| (name, view.shape().to_vec(), values(&view)))
        .collect()
}

/// Checks that the largest difference is at most `tolerance` of the largest magnitude.
pub(crate) fn check_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0f32, |max, v| max.max(v.abs()));
    let worst = found
        .iter()
        .zip(expected)
        .fold(0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(
        worst <= tolerance * scale,
        "{what}: off by {worst} of {scale}\n{found:?}\n{expected:?}"
    );
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}
