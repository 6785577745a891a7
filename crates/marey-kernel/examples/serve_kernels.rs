//! Times kernels for `reference/bench_kernels.py`, which runs PyTorch in turn with it.
//!
//! A line asks `kind n cin cout t h w kt kh kw st sh sw pt ph pw dilation groups direction repeats`;
//! the answer is the best wall time in milliseconds. `kind` is `conv`, `norm` (batch norm with
//! ReLU, training), `maxpool`, or `burn-` and one of these: the same through Burn's tensors, with a
//! fresh output each time. Threads: `RAYON_NUM_THREADS`. With `KERNEL_CLOCK=cpu` (Linux, one thread)
//! it is the thread's processor time, which other processes disturb less.

#![expect(clippy::print_stdout, reason = "the answers")]

use std::io::{BufRead, Write};
use std::sync::LazyLock;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use marey_kernel::raw::conv::{self, Epilogue, Sets};
use marey_kernel::raw::memory::Buffer;
use marey_kernel::raw::norm::{GradientLine, Pass, PerChannel, statistics};
use marey_kernel::raw::pool::{self, Pool3dShape};
use marey_kernel::raw::{Isa, reference::noise};
use marey_kernel::{
    Activation, Affine, Conv3dOptions, Conv3dShape, NormOptions, Pool3dOptions, batch_norm_train,
    conv3d, max_pool3d,
};

fn main() {
    let mut held: Option<Case> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("stdin is text");
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [kind, numbers @ .., direction, repeats] = &fields[..] else {
            panic!("short: {line}")
        };
        let numbers: Vec<usize> = numbers
            .iter()
            .map(|n| n.parse().expect("numbers"))
            .collect();
        let key = (kind.to_string(), numbers);
        if held.as_ref().is_none_or(|case| case.key != key) {
            held = Some(Case::new(key));
        }
        let case = held.as_mut().expect("just set");
        let mut best = f64::INFINITY;
        for _ in 0..repeats.parse().expect("a number") {
            best = best.min(case.time(direction));
        }
        println!("{}", best * 1e3);
        std::io::stdout().flush().expect("stdout is open");
    }
}

/// Operands of one geometry.
struct Case {
    key: (String, Vec<usize>),
    sets: Sets,
    shape: Conv3dShape,
    pool: Pool3dOptions,
    x: Buffer,
    weights: Buffer,
    dy: Buffer,
    y: Buffer,
    dx: Buffer,
    dw: Buffer,
    /// Of max pooling: where in its window each output is, all places alike often.
    places: Buffer<f16>,
}

impl Case {
    fn new(key: (String, Vec<usize>)) -> Self {
        let [
            n,
            cin,
            cout,
            t,
            h,
            w,
            kt,
            kh,
            kw,
            st,
            sh,
            sw,
            pt,
            ph,
            pw,
            dilation,
            groups,
        ] = key.1[..].try_into().expect("17 numbers");
        let options = Conv3dOptions {
            stride: [st, sh, sw],
            padding: [pt, ph, pw],
            dilation: [1, dilation, dilation],
            groups,
        };
        let shape = Conv3dShape::new([n, t, h, w, cin], [cout, kt, kh, kw, cin / groups], options);
        let pool = Pool3dOptions {
            kernel: [kt, kh, kw],
            stride: options.stride,
            padding: options.padding,
        };
        let y_len = if key.0.ends_with("norm") {
            shape.x_len()
        } else {
            shape.y_len()
        };
        let random = |len: usize, seed| Buffer::copy_of(&noise(len, seed));
        Self {
            sets: match std::env::var("KERNEL_ISA").as_deref() {
                Ok("avx2") => Sets::of(Isa::Avx2),
                Ok("portable") => Sets::of(Isa::Portable),
                _ => Sets::best(),
            },
            shape,
            pool,
            x: random(shape.x_len(), 1),
            weights: random(shape.weights_len(), 2),
            dy: random(y_len, 3),
            y: random(y_len, 4),
            dx: random(shape.x_len(), 5),
            dw: random(shape.weights_len(), 6),
            places: {
                let num_places = shape.num_taps() as f32;
                let place = |v: f32| f16::from_f32(((v + 1.0) / 2.0 * num_places).floor());
                let values = noise(y_len, 7).into_iter().map(place);
                Buffer::copy_of(&values.collect::<Vec<_>>())
            },
            key,
        }
    }

    /// Seconds of one call.
    fn time(&mut self, direction: &str) -> f64 {
        if let Some(kind) = self.key.0.strip_prefix("burn-") {
            return self.time_burn(kind, direction);
        }
        let start = now();
        let Self { sets, shape, .. } = *self;
        let isa = sets.isa;
        match (&self.key.0[..], direction) {
            ("conv", "fwd") => {
                let epilogue = Epilogue::default();
                conv::forward(sets, &shape, &self.x, &self.weights, epilogue, &mut self.y);
            }
            ("conv", "bwd_data") => {
                conv::backward_data(sets, &shape, &self.dy, &self.weights, &mut self.dx);
            }
            ("conv", "bwd_weights") => {
                conv::backward_weights(sets, &shape, &self.x, &self.dy, &mut self.dw);
            }
            ("norm", direction) => self.norm(direction == "bwd"),
            ("maxpool", "fwd") => {
                let [n, cin, _, t, h, w, ..] = self.key.1[..] else {
                    unreachable!("17 numbers")
                };
                let shape = Pool3dShape::new([n, t, h, w, cin], self.pool);
                let (y, places) = (&mut self.y, &mut self.places);
                pool::max_forward_with_places(isa, &shape, &self.x, y, places);
            }
            ("maxpool", "bwd") => {
                let [n, cin, _, t, h, w, ..] = self.key.1[..] else {
                    unreachable!("17 numbers")
                };
                let shape = Pool3dShape::new([n, t, h, w, cin], self.pool);
                let (places, dx) = (&self.places[..], &mut self.dx);
                pool::max_backward(isa, &shape, places, &self.dy, dx);
            }
            (kind, direction) => panic!("no {kind} {direction}"),
        }
        now() - start
    }

    /// Batch norm with ReLU: statistics and output, or both backward passes.
    fn norm(&mut self, is_backward: bool) {
        let channels = self.shape.in_channels;
        let one = PerChannel::new(channels, |_| 1.0);
        let [mean, shift] = if is_backward {
            [0.1, -0.1].map(|value| PerChannel::new(channels, |_| value))
        } else {
            statistics(self.sets.isa, &self.x, channels)
        };
        let pass = Pass {
            isa: self.sets.isa,
            x: &self.x,
            residual: None,
            scale: &one,
            shift: &shift,
            activation: Activation::Relu,
            channels,
        };
        if is_backward {
            pass.backward_sums(&self.dy, &mean);
            let line = GradientLine {
                a: one.clone(),
                b: shift.clone(),
                c: one.clone(),
                mean,
            };
            pass.backward_data(&self.dy, &line, &mut self.dx, None);
        } else {
            pass.forward(&mut self.y);
        }
    }

    /// Forward (`fwd`) or forward and backward (`step`) through Burn.
    fn time_burn(&self, kind: &str, direction: &str) -> f64 {
        let device = if direction == "step" {
            Device::flex().autodiff()
        } else {
            Device::flex()
        };
        let Conv3dShape {
            batch,
            in_channels,
            input: [t, h, w],
            ..
        } = self.shape;
        let tensor = |data: &[f32], dims: [usize; 5]| {
            let tensor = Tensor::<5>::from_data(TensorData::new(data.to_vec(), dims), &device);
            if direction == "step" {
                tensor.require_grad()
            } else {
                tensor
            }
        };
        let x = tensor(&self.x, [batch, t, h, w, in_channels]);
        let [kt, kh, kw] = self.shape.kernel;
        let weights = tensor(
            &self.weights,
            [
                self.shape.out_channels,
                kt,
                kh,
                kw,
                self.shape.group_inputs(),
            ],
        );
        let channels = Tensor::<1>::ones([in_channels], &device);
        let start = now();
        let y = match kind {
            "conv" => conv3d(x, weights, self.shape.options),
            "norm" => {
                let affine = Affine {
                    gamma: channels.clone(),
                    beta: channels,
                };
                let options = NormOptions {
                    epsilon: 1e-5,
                    activation: Activation::Relu,
                };
                batch_norm_train(x, None, affine, options).0
            }
            "maxpool" => max_pool3d(x, self.pool),
            _ => panic!("no {kind}"),
        };
        if direction == "step" {
            drop(y.sum().backward());
        }
        now() - start
    }
}

/// Seconds on the clock that the environment asks for.
fn now() -> f64 {
    static START: LazyLock<(Instant, bool)> = LazyLock::new(|| {
        (
            Instant::now(),
            std::env::var("KERNEL_CLOCK").is_ok_and(|clock| clock == "cpu"),
        )
    });
    let (start, is_cpu) = *START;
    if is_cpu {
        cpu_time()
    } else {
        start.elapsed().as_secs_f64()
    }
}

/// Processor time of this thread, in seconds.
#[cfg(target_os = "linux")]
fn cpu_time() -> f64 {
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    }
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = [0i64; 2];
    // SAFETY: the C library's function, whose `timespec` is two 64-bit numbers on 64-bit Linux.
    let failed = unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "Linux has a clock of each thread");
    time[0] as f64 + time[1] as f64 * 1e-9
}

#[cfg(not(target_os = "linux"))]
fn cpu_time() -> f64 {
    panic!("KERNEL_CLOCK=cpu is for Linux")
}
