//! Two-stream network (Simonyan and Zisserman, "Two-Stream Convolutional Networks for Action Recognition in Videos", NIPS
//! 2014): one ResNet-50 sees a frame, another the optical flow of ten pairs of neighbouring frames, and their answers are
//! averaged. The paper's streams are 8 layers deep; ResNet-50 took their place with Feichtenhofer, Pinz and Wildes (2016).
//!
//! The network computes the flow itself, from the clip that it is given, so that training, evaluation, prediction and live
//! streams cannot differ in it (docs/adr/0012). From each field its mean is taken off, which is most of a camera's own
//! motion (section 3 of the paper), and 20 pixels become 1, as mmaction2 scales.
//!
//! A clip of 11 frames is one stack of ten flow fields. From a longer one come as many stacks as it holds, spread evenly
//! over it, whose features are averaged; in a shorter one pairs are used more than once. Frames should follow each other
//! closely (`sampling.mode = "dense"` at a small step): over long gaps there is no flow to find.
//!
//! Letters: b batch, t frames, s stacks, h height, w width, c channels, k classes.

use burn::{
    module::Module,
    nn::{Dropout, DropoutConfig},
    tensor::{Device, Tensor, TensorData, assert_shape},
};
use marey_transform::TvL1;

use super::{Network, ResNet, ResNetConfig, ResNetDepth};
use crate::{
    Evidence,
    evidence::{places, sum_of_frames},
    layer::{Init, Linear, LinearInit, global_average},
};

/// Flow fields of a stack.
const FIELDS: usize = 10;

/// Displacement in pixels that becomes 1; what is larger is cut off.
const LARGEST_PX: f32 = 20.0;

/// Builds a [`TwoStream`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoStreamConfig {
    /// Classes.
    pub num_classes: usize,
    /// Factor on the channels of both streams; 1 is ResNet-50's.
    pub width: f64,
    /// Share of both streams' features that is dropped in training, in `[0, 1)`.
    pub dropout: f64,
}

impl TwoStreamConfig {
    /// ResNet-50 twice, dropout 0.5.
    pub const fn new(num_classes: usize) -> Self {
        Self {
            num_classes,
            width: 1.0,
            dropout: 0.5,
        }
    }

    /// The network.
    ///
    /// # Panics
    /// If `dropout` is outside `[0, 1)`.
    pub fn init(&self, init: &mut Init<'_>, device: &Device) -> TwoStream {
        let stream = |in_channels| ResNetConfig {
            in_channels,
            width: self.width,
            ..ResNetConfig::new(ResNetDepth::D50)
        };
        let (rgb, flow) = (stream(3), stream(2 * FIELDS));
        let sizes = [rgb.num_features(), self.num_classes];
        TwoStream {
            rgb: rgb.init(init, device),
            flow: flow.init(init, device),
            fc: Classifiers {
                rgb: Linear::new(sizes, LinearInit::Normal(0.01), init, device),
                flow: Linear::new(sizes, LinearInit::Normal(0.01), init, device),
            },
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

/// Two ResNet-50 that see the same clip in two ways.
#[derive(Module, Debug)]
pub struct TwoStream {
    rgb: ResNet,
    flow: ResNet,
    fc: Classifiers,
    dropout: Dropout,
}

/// The classifier of each stream.
#[derive(Module, Debug)]
struct Classifiers {
    rgb: Linear,
    flow: Linear,
}

impl Network for TwoStream {
    /// The feature of the frames, then that of the flow.
    fn features(&self, clips: Tensor<5>) -> Tensor<2> {
        let maps = self.feature_maps(clips).map(global_average);
        Tensor::cat(maps.to_vec(), 1)
    }

    /// The mean of both streams' logits.
    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        let width = self.fc.rgb.num_inputs();
        let features = self.dropout.forward(features);
        let of_rgb = self.fc.rgb.forward(features.clone().narrow(1, 0, width));
        let of_flow = self.fc.flow.forward(features.narrow(1, width, width));
        (of_rgb + of_flow) / 2.0
    }

    /// The last maps of both streams, as one map with the channels of both, by the classifiers' weights, over the number of
    /// places of all stacks, which is Grad-CAM; for each stack.
    fn evidence(&self, clips: Tensor<5>, class: usize) -> Evidence {
        let maps = self.feature_maps(clips);
        let maps = maps.map(|map| map.cast(burn::tensor::FloatDType::F32));
        let map = Tensor::cat(maps.to_vec(), 4);
        let [_, s, h, w, c] = map.dims();
        let weights = [&self.fc.rgb, &self.fc.flow].map(|fc| fc.weights_of(class));
        let gradient = Tensor::cat(weights.to_vec(), 0) / (2 * s * h * w) as f64;
        let places = places(map, gradient.reshape([1, 1, c]));
        let over_time = sum_of_frames(&places);
        Evidence { places, over_time }
    }

    fn num_features(&self) -> usize {
        2 * self.fc.rgb.num_inputs()
    }

    fn num_classes(&self) -> usize {
        self.fc.rgb.num_outputs()
    }

    fn head(&self) -> &'static str {
        "fc."
    }
}

impl TwoStream {
    /// The last maps of frames and of flow: `[b, t, h, w, 3]` to `[b, s, h / 32, w / 32, 2048]` twice at width 1, in the
    /// type of the clips.
    fn feature_maps(&self, clips: Tensor<5>) -> [Tensor<5>; 2] {
        assert_shape!(clips, [_, _, _, _, 3]);
        let [b, t, h, w, _] = clips.dims();
        let stacks = Stack::of_clip(t);
        let s = stacks.len();
        let fields = fields(&clips, &stacks).cast(clips.dtype());
        let middles = stacks
            .iter()
            .map(|stack| clips.clone().narrow(1, stack.middle, 1));
        let frames = Tensor::cat(middles.collect(), 1).reshape([b * s, h, w, 3]);
        let map = |net: &ResNet, pictures| {
            let map = net.feature_map(pictures, s);
            let [_, h, w, c] = map.dims();
            map.reshape([b, s, h, w, c])
        };
        [map(&self.rgb, frames), map(&self.flow, fields)]
    }
}

/// What both streams see of a stretch of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stack {
    /// Each field is the flow from one of these frames to the other.
    pairs: [[usize; 2]; FIELDS],
    /// The frame that the other stream sees.
    middle: usize,
}

impl Stack {
    /// The stacks of a clip of `t` frames, at least one.
    fn of_clip(t: usize) -> Vec<Self> {
        let num_pairs = t.saturating_sub(1);
        let num_stacks = (num_pairs / FIELDS).max(1);
        // What the stacks leave over lies between them, or on both sides of one.
        let spare = num_pairs.saturating_sub(num_stacks * FIELDS);
        let stack = |at: usize| {
            let start = match num_stacks {
                1 => spare / 2,
                _ => at * FIELDS + at * spare / (num_stacks - 1),
            };
            let pair = |field: usize| {
                let first = start + field.min(field * num_pairs / FIELDS);
                [first, (first + 1).min(t - 1)]
            };
            let pairs = std::array::from_fn(pair);
            Self {
                pairs,
                middle: pairs[FIELDS / 2][0],
            }
        };
        (0..num_stacks).map(stack).collect()
    }
}

/// The flow of every stack: `[b * s, h, w, 20]`, `dx` and `dy` of each field in turn, 1 for 20 pixels, mean 0.
fn fields(clips: &Tensor<5>, stacks: &[Stack]) -> Tensor<4> {
    let [b, t, h, w, c] = clips.dims();
    // The host computes the flow; nothing is learned in it, so no gradient passes.
    let pixels: Vec<f32> = clips
        .to_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("converted to f32");
    let mut pairs: Vec<[usize; 2]> = stacks.iter().flat_map(|stack| stack.pairs).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let channels = 2 * FIELDS;
    let mut values = Vec::with_capacity(b * stacks.len() * h * w * channels);
    for clip in pixels.chunks_exact(t * h * w * c) {
        let mut flows = TvL1::default().flows(clip, [t, h, w], &pairs);
        flows.iter_mut().for_each(|flow| bring_to_scale(flow));
        for stack in stacks {
            let of_pair = |pair| pairs.binary_search(pair).expect("every pair is there");
            let of_stack = stack.pairs.each_ref().map(|pair| &flows[of_pair(pair)]);
            for place in 0..h * w {
                for field in of_stack {
                    values.extend_from_slice(&field[2 * place..][..2]);
                }
            }
        }
    }
    let dims = [b * stacks.len(), h, w, channels];
    Tensor::from_data(TensorData::new(values, dims), &clips.device())
}

/// Takes the mean off a field `[h, w, 2]` and brings it from pixels to -1..1.
fn bring_to_scale(flow: &mut [f32]) {
    let num = (flow.len() / 2) as f32;
    for part in 0..2 {
        let mean = flow.iter().skip(part).step_by(2).sum::<f32>() / num;
        for value in flow.iter_mut().skip(part).step_by(2) {
            *value = ((*value - mean) / LARGEST_PX).clamp(-1.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, activation::relu};
    use marey_clip::rng_for;

    use super::*;

    fn small(device: &Device) -> TwoStream {
        let config = TwoStreamConfig {
            width: 0.125,
            dropout: 0.0,
            ..TwoStreamConfig::new(3)
        };
        config.init(&mut Init::Random(&mut rng_for(3, 0, 0, 0)), device)
    }

    #[test]
    fn eleven_frames_are_one_stack_and_longer_clips_are_covered_evenly() {
        let firsts = |t: usize| -> Vec<Vec<usize>> {
            let of_stack = |stack: Stack| stack.pairs.map(|[first, _]| first).to_vec();
            Stack::of_clip(t).into_iter().map(of_stack).collect()
        };
        assert_eq!(firsts(11), [Vec::from_iter(0..10)]);
        assert_eq!(firsts(16), [Vec::from_iter(2..12)]);
        assert_eq!(firsts(24), [Vec::from_iter(0..10), Vec::from_iter(13..23)]);
        assert_eq!(firsts(3), [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]);
        assert_eq!(Stack::of_clip(1)[0].pairs, [[0, 0]; FIELDS]);
        assert_eq!(Stack::of_clip(11)[0].middle, 5);
        for t in 1..40 {
            let stacks = Stack::of_clip(t);
            let pairs = stacks.iter().flat_map(|stack| stack.pairs);
            assert!(pairs.flatten().max() < Some(t), "{t}");
        }
    }

    #[test]
    fn the_flow_stream_sees_what_moves_against_the_camera() {
        // A bright square that moves 2 pixels a frame over a texture that moves 1 to the left.
        let (t, side) = (11, 48);
        let device = Device::flex();
        let mut pixels = Vec::new();
        for frame in 0..t {
            for at in 0..side * side {
                let (y, x) = ((at / side) as f32, (at % side) as f32);
                let start = 4.0 + 2.0 * frame as f32;
                let is_inside = (start..start + 16.0).contains(&x) && (16.0..32.0).contains(&y);
                let wave = |fy: f32, fx: f32| (fy * y + fx * (x + frame as f32)).sin();
                let ground = 0.4 * (wave(0.5, 0.9) + wave(-0.7, 0.4));
                let inner = (0.8 * y + 0.9 * (x - start)).sin();
                pixels.extend([if is_inside { 1.0 + inner } else { ground }; 3]);
            }
        }
        let clips = Tensor::from_data(TensorData::new(pixels, [1, t, side, side, 3]), &device);
        let found = fields(&clips, &Stack::of_clip(t));
        assert_eq!(found.dims(), [1, side, side, 20]);
        let at = |y: usize, x: usize, channel: usize| -> f32 {
            let value = found
                .clone()
                .slice([0..1, y..y + 1, x..x + 1, channel..channel + 1]);
            value.into_scalar::<f32>() * LARGEST_PX
        };
        // Square and ground differ by 3 pixels across in the first field and in the last; nothing moves down.
        for (field, centre) in [(0, 12), (9, 30)] {
            let apart = at(24, centre, 2 * field) - at(42, 12, 2 * field);
            assert!((apart - 3.0).abs() < 0.5, "field {field}: {apart}");
            let down = at(24, centre, 2 * field + 1) - at(42, 12, 2 * field + 1);
            assert!(down.abs() < 0.4, "field {field}: {down}");
        }
        let mean = found
            .mean_dim(1)
            .mean_dim(2)
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(mean < 1e-6, "{mean}");
    }

    #[test]
    fn a_clip_that_stands_still_has_no_flow_and_the_order_of_frames_counts() {
        let device = Device::flex();
        let frame = Tensor::<5>::random([1, 1, 32, 32, 3], Distribution::Default, &device);
        let still = frame.repeat_dim(1, 11);
        let flow = fields(&still, &Stack::of_clip(11));
        assert_eq!(flow.abs().max().into_scalar::<f32>(), 0.0);
        // Two pictures that differ by a shift: forwards and backwards have opposite flow.
        let clip = Tensor::cat(
            vec![
                still.clone().narrow(1, 0, 5),
                still.roll(&[1], &[3]).narrow(1, 0, 6),
            ],
            1,
        );
        let net = small(&device);
        let logits = |clip: Tensor<5>| net.classify(net.features(clip));
        let off = (logits(clip.clone()) - logits(clip.flip([1]))).abs().max();
        assert!(off.into_scalar::<f32>() > 1e-5);
    }

    #[test]
    fn evidence_is_grad_cam_of_both_streams() {
        let device = Device::flex();
        let clips = Tensor::<5>::random([2, 21, 64, 32, 3], Distribution::Default, &device);
        let net = small(&device);
        let tape = device.clone().autodiff();
        let maps = net.feature_maps(clips.clone());
        let taped = small(&tape);
        // What speaks against one class everywhere speaks for another: they are compared on one scale.
        let (mut off, mut scale) = (0f32, 0f32);
        for class in 0..3 {
            let leaves = maps
                .each_ref()
                .map(|map| Tensor::<5>::from_data(map.clone().into_data(), &tape).require_grad());
            let features = leaves.each_ref().map(|map| global_average(map.clone()));
            let logits = taped.classify(Tensor::cat(features.to_vec(), 1));
            let grads = logits.narrow(1, class, 1).sum().backward();
            let [rgb, flow] = leaves.each_ref().map(|map| {
                let grad = map.grad(&grads).expect("a leaf");
                (map.clone().inner() * grad).sum_dim(4)
            });
            let [b, s, h, w, _] = rgb.dims();
            assert_eq!([b, s, h, w], [2, 2, 2, 1]);
            let expected = relu(rgb + flow).reshape([b, s, h, w]);
            let evidence = net.evidence(clips.clone(), class);
            scale = scale.max(expected.clone().max().into_scalar());
            off = off.max((evidence.places - expected).abs().max().into_scalar());
        }
        assert!(scale > 0.0 && off < 1e-5 * scale, "{off} of {scale}");
    }
}
