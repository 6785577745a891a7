//! Optical flow against OpenCV's and scikit-image's TV-L1 (`reference/flow_golden.py`).

use safetensors::SafeTensors;

use crate::TvL1;

const GOLDEN: &[u8] = include_bytes!("../tests/golden/flow.safetensors");

/// Places at the edges that are left out: what moves out of the picture is guessed by everyone in another way.
const MARGIN: usize = 8;

/// Other implementations have other pyramids, interpolation, filters and numbers of iterations, and differ from each other
/// by hundredths of a pixel. Ours may be as far from each as they are apart, and a tenth more.
const SLACK: f64 = 1.1;

fn tensor(file: &SafeTensors<'_>, name: &str) -> ([usize; 2], Vec<f32>) {
    let tensor = file.tensor(name).expect("the golden file holds it");
    let values = match tensor.dtype() {
        safetensors::Dtype::U8 => tensor.data().iter().map(|&v| f32::from(v)).collect(),
        _ => {
            let (values, _) = tensor.data().as_chunks::<4>();
            values.iter().map(|&v| f32::from_le_bytes(v)).collect()
        }
    };
    ([tensor.shape()[0], tensor.shape()[1]], values)
}

/// Mean and 95 % quantile of the distance of two flows in pixels.
fn apart([h, w]: [usize; 2], a: &[f32], b: &[f32]) -> [f64; 2] {
    let mut distances: Vec<f64> = (MARGIN..h - MARGIN)
        .flat_map(|y| (MARGIN..w - MARGIN).map(move |x| 2 * (y * w + x)))
        .map(|at| f64::from((a[at] - b[at]).hypot(a[at + 1] - b[at + 1])))
        .collect();
    distances.sort_by(f64::total_cmp);
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    [mean, distances[distances.len() * 95 / 100]]
}

#[test]
fn flows_are_as_near_to_other_implementations_as_those_are_to_each_other() {
    let file = SafeTensors::deserialize(GOLDEN).expect("the golden file is whole");
    for name in ["turning", "block"] {
        let get = |part: &str| tensor(&file, &format!("{name}/{part}"));
        let (size, first) = get("first");
        let (_, second) = get("second");
        let ours = TvL1::default().flow(&first, &second, size);
        let (opencv, scikit) = (get("opencv").1, get("scikit-image").1);
        let bounds = apart(size, &opencv, &scikit).map(|bound| SLACK * bound);
        assert!(bounds[0] < 0.1 && bounds[1] < 0.3, "{name}: {bounds:?}");
        for (whose, theirs) in [("OpenCV", &opencv), ("scikit-image", &scikit)] {
            let found = apart(size, &ours, theirs);
            assert!(
                found[0] <= bounds[0] && found[1] <= bounds[1],
                "{name}: mean and 95 % are {found:?} px from {whose}, which may be {bounds:?}"
            );
        }
    }
}
