//! Parameters that training leaves alone.

use std::collections::BTreeSet;

use burn::{
    module::{Flag, Module, ModuleMapper, Param},
    tensor::Tensor,
};

use super::walk::{Path, is_running_stat, parameters};
use crate::Model;

/// `model` in which every parameter whose upstream name `is_frozen` gets no gradient, and every batch norm whose
/// `running_mean` is frozen normalises with its running statistics in training too, and leaves them as they are.
///
/// Neither is stored with weights: a model that is loaded from a checkpoint must be frozen again.
pub fn freeze(model: Model, is_frozen: &dyn Fn(&str) -> bool) -> Model {
    let norms = parameters(&model)
        .into_iter()
        .filter_map(|parameter| {
            let norm = parameter.name.strip_suffix(".running_mean")?;
            is_frozen(&parameter.name).then(|| norm.to_owned())
        })
        .collect();
    model.map(&mut Freeze {
        path: Path::default(),
        norms,
        is_frozen,
    })
}

struct Freeze<'a> {
    path: Path,
    /// Batch norms whose statistics are frozen.
    norms: BTreeSet<String>,
    is_frozen: &'a dyn Fn(&str) -> bool,
}

impl ModuleMapper for Freeze<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.upstream();
        if !is_running_stat(&name) && (self.is_frozen)(&name) {
            param.set_require_grad(false)
        } else {
            param
        }
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let name = self.path.upstream();
        match name.strip_suffix(".training") {
            Some(norm) if self.norms.contains(norm) => flag.with_value(false),
            _ => flag,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        optim::GradientsParams,
        tensor::{Device, Distribution},
    };
    use marey_clip::rng_for;

    use super::*;
    use crate::{Arch, ModelConfig, weights::Parameter};

    fn model(device: &Device) -> Model {
        let mut config = ModelConfig::new(Arch::R3d18);
        config.width = Some(0.125);
        config
            .init(3, &mut rng_for(1, 0, 0, 0), device)
            .expect("a valid model")
    }

    /// Names of the parameters that get a gradient, and of the statistics that move, in a pass over noise.
    fn learned(model: &Model, device: &Device) -> (Vec<String>, Vec<String>) {
        let values = |parameter: &Parameter, model: &Model| {
            let mut found = None;
            super::super::walk::visit(model, |name, tensor| {
                if name == parameter.name {
                    found = Some(tensor.values());
                }
            });
            found.expect("the same model")
        };
        let before = model.clone();
        let clips = Tensor::<5>::random([2, 2, 16, 16, 3], Distribution::Default, device);
        let loss = model.forward(clips).square().sum();
        let grads = GradientsParams::from_grads(loss.backward(), model);
        let mut with_gradient = Vec::new();
        let mut moved = Vec::new();
        for parameter in parameters(model) {
            if is_running_stat(&parameter.name) {
                if values(&parameter, model) != values(&parameter, &before) {
                    moved.push(parameter.name);
                }
                continue;
            }
            let has_gradient = match parameter.shape.len() {
                1 => grads.get::<1>(parameter.id).is_some(),
                2 => grads.get::<2>(parameter.id).is_some(),
                _ => grads.get::<5>(parameter.id).is_some(),
            };
            if has_gradient {
                with_gradient.push(parameter.name);
            }
        }
        (with_gradient, moved)
    }

    #[test]
    fn what_is_frozen_gets_no_gradient_and_keeps_its_statistics() {
        let device = Device::flex().autodiff();
        let whole = model(&device);
        let names = |keep: &dyn Fn(&Parameter) -> bool| -> Vec<String> {
            let parameters = parameters(&whole).into_iter();
            parameters.filter(keep).map(|found| found.name).collect()
        };
        let frozen = |name: &str| name.starts_with("stem.") || name.starts_with("layer1.");
        let (learned_names, moved) = learned(&freeze(whole.clone(), &frozen), &device);
        assert_eq!(
            learned_names,
            names(&|found| !is_running_stat(&found.name) && !frozen(&found.name))
        );
        assert_eq!(
            moved,
            names(&|found| is_running_stat(&found.name) && !frozen(&found.name))
        );
        // Statistics alone: every parameter still learns.
        let (learned_names, moved) = learned(&freeze(whole.clone(), &is_running_stat), &device);
        assert_eq!(learned_names, names(&|found| !is_running_stat(&found.name)));
        assert_eq!(moved, Vec::<String>::new());
    }

    #[test]
    fn the_classifier_is_named() {
        let head: Vec<String> = parameters(&model(&Device::flex()))
            .into_iter()
            .filter(|parameter| parameter.is_head)
            .map(|parameter| parameter.name)
            .collect();
        assert_eq!(head, ["fc.weight", "fc.bias"]);
    }
}
