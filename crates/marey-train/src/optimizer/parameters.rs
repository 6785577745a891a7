//! Which parameters of a model learn, and how fast.

use std::collections::BTreeSet;

use marey_model::{
    Model,
    weights::{Parameter, freeze, is_running_stat, parameters},
};

use super::{FreezeNorm, Group, GroupRule, Optimizer, OptimizerSection};

impl OptimizerSection {
    /// Whether the section says anything that depends on the model's parameters.
    pub(crate) fn names_parameters(&self) -> bool {
        !self.freeze.is_empty()
            || self.freeze_norm.is_some()
            || !self.lr_factors.is_empty()
            || self.backbone_lr_factor.is_some()
    }

    /// Checks that every name belongs to a parameter of `model`, has an effect, and leaves something to learn.
    pub(crate) fn check_parameters(&self, model: &Model) -> Result<(), String> {
        let all = parameters(model);
        for prefix in &self.freeze {
            check_prefix("optimizer.freeze", prefix, &all)?;
        }
        let frozen = self.frozen(&all);
        let learns = |parameter: &Parameter| {
            !is_running_stat(&parameter.name) && !frozen.contains(&parameter.name)
        };
        for prefix in self.lr_factors.keys() {
            check_prefix("optimizer.lr_factors", prefix, &all)?;
            if !all
                .iter()
                .any(|found| learns(found) && fits(prefix, &found.name))
            {
                return Err(format!(
                    "optimizer.lr_factors.{prefix} has no effect: every parameter of that name is frozen; remove it"
                ));
            }
        }
        if self.freeze_norm.is_some() && !all.iter().any(|found| is_running_stat(&found.name)) {
            return Err(
                "optimizer.freeze_norm has no effect: the model has no batch norm; remove it"
                    .into(),
            );
        }
        if self.backbone_lr_factor.is_some()
            && !all.iter().any(|found| learns(found) && !found.is_head)
        {
            return Err(
                "optimizer.backbone_lr_factor has no effect: everything but the classifier is frozen; remove it".into(),
            );
        }
        if !all.iter().any(learns) {
            return Err(
                "optimizer.freeze leaves nothing to learn: let at least the classifier out of it"
                    .into(),
            );
        }
        Ok(())
    }

    /// `model` with what the section freezes frozen. To be called after weights are loaded.
    pub(crate) fn freeze(&self, model: Model) -> Model {
        let frozen = self.frozen(&parameters(&model));
        match frozen.is_empty() {
            true => model,
            false => freeze(model, &|name| frozen.contains(name)),
        }
    }

    /// A fresh optimiser for `model`. To be called after weights are loaded, which bring their own ids.
    pub(crate) fn init(&self, model: &Model) -> Optimizer {
        let mut groups: Vec<Group> = Vec::new();
        for parameter in parameters(model) {
            let rule = self.rule_of(&parameter);
            if rule == GroupRule::default() || is_running_stat(&parameter.name) {
                continue;
            }
            match groups.iter_mut().find(|group| group.rule == rule) {
                Some(group) => group.ids.push(parameter.id),
                None => groups.push(Group {
                    ids: vec![parameter.id],
                    rule,
                }),
            }
        }
        self.rule().init_groups(groups)
    }

    fn rule_of(&self, parameter: &Parameter) -> GroupRule {
        let of_backbone = self.backbone_lr_factor.filter(|_| !parameter.is_head);
        let named = self.lr_factors.iter();
        let longest = named
            .filter(|(prefix, _)| fits(prefix, &parameter.name))
            .max_by_key(|(prefix, _)| prefix.len());
        GroupRule {
            lr_factor: longest
                .map(|(_, factor)| *factor)
                .or(of_backbone)
                .unwrap_or(1.0),
            has_decay: self.decay_norms_and_biases || parameter.shape.len() > 1,
        }
    }

    /// Names of the parameters and statistics that stay as they are.
    fn frozen(&self, all: &[Parameter]) -> BTreeSet<String> {
        let norms: BTreeSet<&str> = all
            .iter()
            .filter_map(|parameter| parameter.name.strip_suffix(".running_mean"))
            .collect();
        let of_norm = |name: &str| {
            let owner = name.rsplit_once('.').map_or("", |(owner, _)| owner);
            match self.freeze_norm {
                None => false,
                Some(FreezeNorm::Statistics) => is_running_stat(name),
                Some(FreezeNorm::All) => norms.contains(owner),
            }
        };
        all.iter()
            .map(|parameter| &parameter.name)
            .filter(|name| of_norm(name) || self.freeze.iter().any(|prefix| fits(prefix, name)))
            .cloned()
            .collect()
    }
}

/// Whether `name` is `prefix` or lies below it: `layer1` fits `layer1.0.weight` and not `layer10.weight`.
fn fits(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn check_prefix(key: &str, prefix: &str, all: &[Parameter]) -> Result<(), String> {
    if all.iter().any(|parameter| fits(prefix, &parameter.name)) {
        return Ok(());
    }
    // Down to the first level with more than one or two names, so that a wrapper alone is not the whole list.
    let level = |depth: usize| {
        let mut names: Vec<String> = Vec::new();
        for parameter in all {
            let parts: Vec<&str> = parameter.name.split('.').take(depth).collect();
            let name = parts.join(".");
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    let names = (1..5).map(level).find(|names| names.len() > 4);
    Err(format!(
        "{key} names \"{prefix}\", but no parameter's name begins with it; names begin with {}",
        names.unwrap_or_else(|| level(1)).join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Module,
        optim::GradientsParams,
        tensor::{Device, Distribution, Tensor},
    };
    use marey_clip::rng_for;
    use marey_model::{Arch, ModelConfig};

    use super::*;

    fn model(device: &Device) -> Model {
        let mut config = ModelConfig::new(Arch::R3d18);
        config.width = Some(0.125);
        let built = config.init(3, &mut rng_for(1, 0, 0, 0), device);
        built.expect("a valid model")
    }

    fn section(more: &str) -> OptimizerSection {
        let text = format!("kind = \"sgd\"\nlr = 1.0\nmomentum = 0.0\n{more}");
        let mut section: OptimizerSection = toml::from_str(&text).expect("valid TOML");
        section.resolve().expect("valid");
        section
    }

    /// How far one step with gradients of 1 moves a parameter whose values are 1, by name.
    fn moved(section: &OptimizerSection, names: &[&str]) -> Vec<f32> {
        struct Ones;
        impl burn::module::ModuleMapper for Ones {
            fn map_float<const D: usize>(
                &mut self,
                param: burn::module::Param<Tensor<D>>,
            ) -> burn::module::Param<Tensor<D>> {
                param.map(|tensor| {
                    let ones = tensor.clone().inner().ones_like();
                    Tensor::from_inner(ones).set_require_grad(tensor.is_require_grad())
                })
            }
        }
        struct Register(GradientsParams);
        impl burn::module::ModuleVisitor for Register {
            fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
                if param.val().is_require_grad() {
                    self.0.register(param.id, param.val().inner().ones_like());
                }
            }
        }
        let device = Device::flex().autodiff();
        let model = section.freeze(model(&device)).map(&mut Ones);
        let mut grads = Register(GradientsParams::new());
        model.visit(&mut grads);
        let mut optimizer = section.init(&model);
        let before = all_values(&model);
        let model = optimizer.step(1.0, 1.0, model, grads.0);
        let after = all_values(&model);
        names
            .iter()
            .map(|name| {
                let at = |values: &[(String, f32)]| {
                    values
                        .iter()
                        .find(|(known, _)| known == name)
                        .expect("a parameter")
                        .1
                };
                at(&before) - at(&after)
            })
            .collect()
    }

    /// The mean of each parameter.
    fn all_values(model: &Model) -> Vec<(String, f32)> {
        struct Means(Vec<f32>);
        impl burn::module::ModuleVisitor for Means {
            fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
                self.0.push(param.val().mean().into_scalar::<f32>());
            }
        }
        let mut means = Means(Vec::new());
        model.visit(&mut means);
        let names = parameters(model)
            .into_iter()
            .map(|parameter| parameter.name);
        names.zip(means.0).collect()
    }

    #[test]
    fn parameters_learn_at_the_rate_of_their_group_and_decay_where_asked_for() {
        let names = [
            "stem.0.weight",
            "stem.1.weight",
            "layer4.0.conv1.0.weight",
            "fc.weight",
            "fc.bias",
        ];
        let check = |more: &str, expect: [f32; 5]| {
            let found = moved(&section(more), &names);
            // Means of many values round more than one does.
            let close = found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(close, "{more}: {found:?} is not {expect:?}");
        };
        check("", [1.0; 5]);
        check("backbone_lr_factor = 0.1", [0.1, 0.1, 0.1, 1.0, 1.0]);
        check(
            "backbone_lr_factor = 0.1\nlr_factors = { stem = 0.5, \"stem.1\" = 0.25, fc = 2.0 }",
            [0.5, 0.25, 0.1, 2.0, 2.0],
        );
        check("weight_decay = 0.5", [1.5; 5]);
        check(
            "weight_decay = 0.5\ndecay_norms_and_biases = false",
            [1.5, 1.0, 1.5, 1.5, 1.0],
        );
        check(
            "freeze = [\"stem\", \"fc.bias\"]",
            [0.0, 0.0, 1.0, 1.0, 0.0],
        );
        check("freeze_norm = \"statistics\"", [1.0; 5]);
        check("freeze_norm = \"all\"", [1.0, 0.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn group_rules_come_back_with_a_checkpoint() {
        let device = Device::flex().autodiff();
        let section =
            section("backbone_lr_factor = 0.1\nweight_decay = 0.5\ndecay_norms_and_biases = false");
        let clips = || Tensor::<5>::ones([1, 2, 16, 16, 3], &device);
        let step = |model: Model, optimizer: &mut Optimizer| {
            let grads = model.forward(clips()).square().sum().backward();
            let grads = GradientsParams::from_grads(grads, &model);
            optimizer.step(0.01, 1.0, model, grads)
        };
        let model = model(&device);
        let mut optimizer = section.init(&model);
        let model = step(model, &mut optimizer);
        let record = optimizer.module.to_record();
        let mut loaded = section.init(&model);
        loaded.module = loaded.module.load_record(record);
        let whole = all_values(&step(model.clone(), &mut optimizer));
        assert_eq!(all_values(&step(model, &mut loaded)), whole);
    }

    #[test]
    fn names_that_fit_nothing_or_leave_nothing_are_refused() {
        let model = model(&Device::flex());
        let cases = [
            (
                "freeze = [\"layer9\"]",
                "names begin with stem, layer1, layer2, layer3, layer4, fc",
            ),
            ("freeze = [\"laye\"]", "optimizer.freeze names \"laye\""),
            (
                "lr_factors = { head = 2.0 }",
                "optimizer.lr_factors names \"head\"",
            ),
            (
                "freeze = [\"stem\"]\nlr_factors = { \"stem.0\" = 2.0 }",
                "is frozen",
            ),
            (
                "freeze = [\"stem\", \"layer1\", \"layer2\", \"layer3\", \"layer4\", \"fc\"]",
                "leaves nothing to learn",
            ),
            (
                "backbone_lr_factor = 0.1\nfreeze = [\"stem\", \"layer1\", \"layer2\", \"layer3\", \"layer4\"]",
                "optimizer.backbone_lr_factor has no effect",
            ),
        ];
        for (more, expect) in cases {
            let error = section(more).check_parameters(&model).expect_err(more);
            assert!(error.contains(expect), "{more}: {error}");
        }
        section("freeze = [\"stem\"]\nfreeze_norm = \"all\"")
            .check_parameters(&model)
            .expect("valid");
    }

    #[test]
    fn a_frozen_backbone_still_trains_its_classifier() {
        let device = Device::flex().autodiff();
        let section =
            section("freeze = [\"stem\", \"layer1\", \"layer2\", \"layer3\", \"layer4\"]");
        let model = section.freeze(model(&device));
        let clips = Tensor::<5>::random([2, 2, 16, 16, 3], Distribution::Default, &device);
        let grads = model.forward(clips).square().sum().backward();
        let grads = GradientsParams::from_grads(grads, &model);
        assert_eq!(grads.len(), 2, "weights and bias of the classifier");
        let before = all_values(&model);
        let after = all_values(&section.init(&model).step(0.1, 1.0, model, grads));
        let changed: Vec<&str> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after)
            .map(|((name, _), _)| name.as_str())
            .collect();
        assert_eq!(changed, ["fc.weight", "fc.bias"]);
    }
}
