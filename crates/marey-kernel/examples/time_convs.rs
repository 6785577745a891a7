//! Times convolutions on the device that Burn prefers: milliseconds of y, dx and dw for each line
//! `name b t h w c k kt kh kw stride_t stride_h stride_w groups` of standard input; padding is half the kernel.
//!
//! `time_convs [f32|bf16] [repeats]`

use std::io::{BufRead, Write};
use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use marey_kernel::{Conv3dOptions, conv3d};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dtype = match arguments.next().as_deref() {
        Some("bf16") => DType::BF16,
        _ => DType::F32,
    };
    let repeats: usize = arguments
        .next()
        .map_or(20, |text| text.parse().expect("a number of repeats"));
    let device = Device::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let sizes: Vec<usize> = words.map(|word| word.parse().expect("a size")).collect();
        let &[b, t, h, w, c, k, kt, kh, kw, st, sh, sw, groups] = sizes.as_slice() else {
            panic!("`{line}` has not 13 sizes");
        };
        let options = Conv3dOptions {
            stride: [st, sh, sw],
            padding: [kt / 2, kh / 2, kw / 2],
            groups,
            ..Default::default()
        };
        let random = |dims| Tensor::<5>::random(dims, Distribution::Uniform(-0.5, 0.5), &device);
        let (x, weights) = (
            random([b, t, h, w, c]).cast(dtype),
            random([k, kt, kh, kw, c / groups]).cast(dtype),
        );
        let forward = time(repeats, &device, || {
            drop(conv3d(x.clone(), weights.clone(), options))
        });
        // Both gradients, and y once more.
        let (x, weights) = (tracked(x), tracked(weights));
        let step = time(repeats, &device, || {
            let y = conv3d(x.clone(), weights.clone(), options);
            let gradients = y.sum().backward();
            drop((x.grad(&gradients), weights.grad(&gradients)));
        });
        writeln!(out, "{name} {forward:.4} {step:.4}")?;
        out.flush()?;
    }
    Ok(())
}

fn tracked(tensor: Tensor<5>) -> Tensor<5> {
    Tensor::from_inner(tensor).require_grad()
}

/// Milliseconds of one call, of as many as are asked for in a row.
fn time(repeats: usize, device: &Device, mut call: impl FnMut()) -> f64 {
    for _ in 0..3 {
        call();
    }
    device.sync().expect("the device works");
    let start = Instant::now();
    for _ in 0..repeats {
        call();
    }
    device.sync().expect("the device works");
    start.elapsed().as_secs_f64() * 1e3 / repeats as f64
}
