//! The layers that a forward pass goes through, each as something that can be run again by itself. `marey bench model`
//! times them so, which works on every device and needs no clock inside a network.

use std::{cell::RefCell, fmt};

use burn::tensor::{DType, Tensor};

thread_local! {
    /// What [`trace`] has collected so far; `None` outside of it.
    static CALLS: RefCell<Option<Vec<LayerCall>>> = const { RefCell::new(None) };
}

/// A layer as a forward pass met it.
pub struct LayerCall {
    /// What it is, for sums: `conv`, `norm`, `linear`, `lstm` or `pool`.
    pub kind: &'static str,
    /// What sets it apart from others of its kind.
    pub label: String,
    /// Shape of its input.
    pub dims: Vec<usize>,
    /// Type of its input.
    pub dtype: DType,
    run: Box<dyn Fn(Tensor<1>) -> Tensor<1>>,
}

impl LayerCall {
    /// Runs the layer, with its parameters as they were.
    ///
    /// # Shapes
    /// - `x`: all elements of [`LayerCall::dims`], in order
    /// - output: all elements of the layer's output, in order
    ///
    /// # Panics
    /// If `x` has another number of elements.
    pub fn run(&self, x: Tensor<1>) -> Tensor<1> {
        (self.run)(x)
    }
}

impl fmt::Debug for LayerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {:?}", self.kind, self.label, self.dims)
    }
}

/// Runs `forward`, and gives the layers that it went through on this thread, in order.
pub fn trace<T>(forward: impl FnOnce() -> T) -> (T, Vec<LayerCall>) {
    CALLS.set(Some(Vec::new()));
    let result = forward();
    let calls = CALLS
        .take()
        .expect("only this function takes the calls away");
    (result, calls)
}

/// Notes that `layer` is about to see `x`, where a trace is taken; `label` is asked for only then.
///
/// Layers of layers do not call this, so that no work is in a trace twice.
pub(crate) fn note<M: Clone + 'static, const D: usize, const E: usize>(
    kind: &'static str,
    label: impl FnOnce() -> String,
    layer: &M,
    x: &Tensor<D>,
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E> + 'static,
) {
    CALLS.with_borrow_mut(|calls| {
        let Some(calls) = calls else {
            return;
        };
        let (layer, dims) = (layer.clone(), x.dims());
        calls.push(LayerCall {
            kind,
            label: label(),
            dims: dims.to_vec(),
            dtype: x.dtype(),
            run: Box::new(move |x| {
                let y = forward(&layer, x.reshape(dims));
                let len: usize = y.dims().iter().product();
                y.reshape([len])
            }),
        });
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use marey_clip::rng_for;

    use super::*;
    use crate::{
        Arch, ModelConfig, Temporal,
        layer::{ConvConfig, Init},
    };

    #[test]
    fn a_traced_layer_gives_the_same_again() {
        let device = Device::flex().autodiff();
        let conv = ConvConfig::new(3, 5, [3; 3])
            .with_stride([1, 2, 2])
            .init(&mut Init::Random(&mut rng_for(1, 0, 0, 0)), &device);
        let x = Tensor::<5>::random([2, 3, 5, 6, 3], Distribution::Default, &device);
        let (y, calls) = trace(|| conv.forward(x.clone()));
        let [call] = &calls[..] else {
            panic!("one layer, not {calls:?}")
        };
        assert_eq!(
            (call.kind, &call.label[..], &call.dims[..]),
            ("conv", "3x3x3 s1x2x2 3-5", &[2, 3, 5, 6, 3][..])
        );
        let again = call.run(x.reshape([540]));
        assert_eq!(
            again.into_data(),
            y.reshape([2 * 3 * 3 * 3 * 5]).into_data()
        );
    }

    #[test]
    fn a_trace_holds_every_layer_once_and_ends_with_the_pass() {
        // Convolutions, norms, linear layers and LSTMs that the papers (and torchvision, timm) have.
        let cases = [
            (Arch::R3d18, None, [20, 20, 1, 0]),
            (Arch::EfficientNetB0, Some(Temporal::BiLstm), [81, 50, 4, 1]),
            (Arch::ResNet50, None, [53, 53, 1, 0]),
            // Two convolutions where R3D has one, but round the blocks.
            (Arch::R2plus1d18, None, [37, 37, 1, 0]),
            // Twice 53, and four laterals without a norm.
            (Arch::SlowFastR50Thermal, None, [110, 106, 1, 0]),
            (Arch::I3d, None, [58, 57, 0, 0]),
            (Arch::C3d, None, [8, 0, 3, 0]),
        ];
        for (arch, temporal, expected) in cases {
            let device = Device::flex().autodiff();
            let mut config = ModelConfig::new(arch);
            (config.width, config.temporal) = (Some(0.125), temporal);
            let model = config
                .init(3, &mut rng_for(1, 0, 0, 0), &device)
                .expect("a valid model");
            let clips = || Tensor::<5>::zeros([1, 2, 32, 32, 3], &device);
            let (_, calls) = trace(|| model.forward(clips()));
            let count = |kind| calls.iter().filter(|call| call.kind == kind).count();
            assert_eq!(["conv", "norm", "linear", "lstm"].map(count), expected);
            model.forward(clips());
            assert!(CALLS.with_borrow(Option::is_none));
        }
    }
}
