//! Times training steps of a residual block through Burn, and counts the page faults they cost.
//!
//! `cargo run --release -p marey-kernel --example block_step [steps]`

#![expect(clippy::print_stdout, reason = "the answers")]

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use marey_kernel::{Activation, Affine, Conv3dOptions, NormOptions, batch_norm_train, conv3d};

/// Channels of the block.
const CHANNELS: usize = 64;

fn main() {
    let steps = std::env::args()
        .nth(1)
        .map_or(12, |n| n.parse().expect("a number of steps"));
    let device = Device::flex().autodiff();
    let random = |dims: [usize; 5]| Tensor::<5>::random(dims, Distribution::Default, &device);
    // Layer 1 of R3D-18 for two clips of 16 x 112 x 112.
    let x = random([2, 16, 56, 56, CHANNELS]);
    let weights = [(); 2].map(|()| (random([CHANNELS, 3, 3, 3, CHANNELS]) - 0.5).require_grad());
    let affine = [(); 2].map(|()| Affine {
        gamma: Tensor::ones([CHANNELS], &device).require_grad(),
        beta: Tensor::zeros([CHANNELS], &device).require_grad(),
    });
    let conv = Conv3dOptions {
        padding: [1; 3],
        ..Default::default()
    };
    let norm = NormOptions {
        epsilon: 1e-5,
        activation: Activation::Relu,
    };
    let mut times = vec![];
    for step in 0..steps {
        let (start, faults) = (Instant::now(), page_faults());
        let y = conv3d(x.clone(), weights[0].clone(), conv);
        let (y, _) = batch_norm_train(y, None, affine[0].clone(), norm);
        let y = conv3d(y, weights[1].clone(), conv);
        let (y, _) = batch_norm_train(y, Some(x.clone()), affine[1].clone(), norm);
        drop(y.sum().backward());
        let time = start.elapsed().as_secs_f64() * 1e3;
        times.push(time);
        println!(
            "step {step}: {time:.1} ms, {} page faults",
            page_faults() - faults
        );
    }
    times.sort_by(f64::total_cmp);
    println!(
        "best {:.1} ms, median {:.1} ms",
        times[0],
        times[times.len() / 2]
    );
}

/// Page faults of this process that needed no disk, on Linux; 0 elsewhere.
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name, in parentheses, may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    fields
        .split_whitespace()
        .nth(7)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}
