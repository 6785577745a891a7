//! What comes after the gradients of R3D-18: their norm and the update, by this crate and by Burn's own optimisers.
//! `reference/bench_optimizer.py` runs PyTorch's beside it. Throughput is parameters.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig, momentum::MomentumConfig},
    tensor::{Device, Tensor},
};
use divan::{Bencher, counter::ItemsCount};
use marey_clip::rng_for;
use marey_model::{Arch, Model, ModelConfig};
use marey_train::{Optimizer, OptimizerConfig};

fn main() {
    divan::main();
}

const ADAMW: OptimizerConfig = OptimizerConfig::AdamW {
    lr: 1e-4,
    weight_decay: 0.01,
    betas: [0.9, 0.999],
};
const SGD: OptimizerConfig = OptimizerConfig::Sgd {
    lr: 1e-4,
    weight_decay: 0.0,
    momentum: 0.9,
};

fn model() -> Model {
    ModelConfig::new(Arch::R3d18)
        .init(4, &mut rng_for(0, 0, 0, 0), &Device::flex().autodiff())
        .expect("a valid model")
}

/// Some gradient of every parameter.
fn gradients(model: &Model) -> GradientsParams {
    struct Gradients(GradientsParams);
    impl ModuleVisitor for Gradients {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0.register(param.id, param.val().inner() * 0.01);
            }
        }
    }
    let mut gradients = Gradients(GradientsParams::new());
    model.visit(&mut gradients);
    gradients.0
}

/// Times `step`, which takes the model and its gradients and gives the new model.
fn bench(bencher: Bencher<'_, '_>, mut step: impl FnMut(Model, GradientsParams) -> Model) {
    let start = model();
    let count = ItemsCount::new(start.num_parameters());
    // The first step also makes the optimiser's state.
    let grads = gradients(&start);
    let current = std::cell::RefCell::new(Some(step(start, grads)));
    bencher
        .counter(count)
        .with_inputs(|| {
            let model = current.borrow_mut().take().expect("put back by each step");
            let grads = gradients(&model);
            (model, grads)
        })
        .bench_local_values(|(model, grads)| {
            *current.borrow_mut() = Some(step(model, grads));
        });
}

fn ours(bencher: Bencher<'_, '_>, config: &OptimizerConfig) {
    let mut optimizer: Optimizer = config.init();
    bench(bencher, |model, grads| {
        optimizer.step(config.lr(), 0.5, model, grads)
    });
}

fn burns(bencher: Bencher<'_, '_>, mut optimizer: ModuleOptimizer) {
    bench(bencher, |model, grads| optimizer.step(1e-4, model, grads));
}

#[divan::bench]
fn adamw(bencher: Bencher<'_, '_>) {
    ours(bencher, &ADAMW);
}

#[divan::bench]
fn adamw_of_burn(bencher: Bencher<'_, '_>) {
    burns(bencher, AdamWConfig::new().with_weight_decay(0.01).init());
}

#[divan::bench]
fn sgd(bencher: Bencher<'_, '_>) {
    ours(bencher, &SGD);
}

#[divan::bench]
fn sgd_of_burn(bencher: Bencher<'_, '_>) {
    let momentum = MomentumConfig::new().with_dampening(0.0);
    burns(
        bencher,
        SgdConfig::new().with_momentum(Some(momentum)).init(),
    );
}

/// The norm of all gradients, which are as large as the parameters.
fn norm(bencher: Bencher<'_, '_>, squares: fn(Tensor<1>) -> Tensor<1>) {
    let gradient = Tensor::<1>::ones([33_000_000], &Device::flex());
    bencher
        .counter(ItemsCount::new(33_000_000usize))
        .bench_local(|| squares(gradient.clone()).into_data());
}

#[divan::bench]
fn sum_of_squares(bencher: Bencher<'_, '_>) {
    norm(bencher, |gradient| {
        marey_kernel::sum_of_squares(vec![gradient]).expect("one tensor")
    });
}

#[divan::bench]
fn sum_of_squares_of_burn(bencher: Bencher<'_, '_>) {
    norm(bencher, |gradient| gradient.square().sum());
}
