//! Weights that a layer keeps in the order of the kernels.

use std::sync::{Arc, Mutex, PoisonError};

use burn_flex::FlexTensor;

use super::flex::elements;
use crate::raw::Conv3dShape;
use crate::raw::conv::{PackedWeights, Sets};

/// A place where a layer keeps its weights as its kernels want them, from one inference to the next.
///
/// The first call that gets it packs the weights, later ones find them there. Weights in another place of memory are
/// packed anew; those in the same place are the same, because the place is held here and tensors that are shared are
/// never written. A clone is another place, with nothing in it.
#[derive(Debug, Default)]
pub struct KeptWeights(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    weights: FlexTensor,
    packed: Arc<PackedWeights>,
}

impl Clone for KeptWeights {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl KeptWeights {
    /// The same place.
    pub(super) fn share(&self) -> Self {
        Self(self.0.clone())
    }

    /// The packed weights of a dense convolution in `f32`.
    pub(super) fn packed(&self, weights: &FlexTensor, shape: &Conv3dShape) -> Arc<PackedWeights> {
        // What is kept is replaced whole, so one that a panicking thread left behind is still good.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values = elements(weights);
        if let Some(kept) = kept.as_ref()
            && std::ptr::eq(elements(&kept.weights), values)
        {
            return kept.packed.clone();
        }
        let rows = values.len() / shape.out_channels.max(1);
        let dims = [shape.options.groups, shape.group_outputs(), rows];
        let packed = Arc::new(PackedWeights::new(Sets::best().isa, values, dims));
        *kept = Some(Kept {
            weights: weights.clone(),
            packed: packed.clone(),
        });
        packed
    }
}
