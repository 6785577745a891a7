//! Times kernels for `reference/bench_kernels.py`, which runs PyTorch in turn with it.
//!
//! At start it writes its cases, a line each, and an empty line; fields are divided by tabs (see `describe`). Then each
//! line of input, `case dtype direction repeats`, is answered by the best wall time in milliseconds; `case` counts the
//! lines from 0. Threads: `RAYON_NUM_THREADS`. With `KERNEL_ISA=avx2` or another name of a set of this machine it is
//! timed instead of the fastest. With `KERNEL_CLOCK=cpu` (Linux, one thread) the time is the thread's processor time,
//! which other processes disturb less.

#![expect(clippy::print_stdout, reason = "the answers")]

#[path = "../benches/kernels/cases.rs"]
mod cases;
#[path = "../benches/kernels/operands.rs"]
mod operands;

use std::io::{BufRead, Write};
use std::sync::LazyLock;
use std::time::Instant;

use half::bf16;
use marey_kernel::raw::{Isa, conv::Sets};

use cases::{Case, Cost, Direction, Work};
use operands::{Operands, Passes};

/// Directions, by the names that the other side knows.
const DIRECTIONS: [(Direction, &str); 4] = [
    (Direction::Forward, "forward"),
    (Direction::Backward, "backward"),
    (Direction::BackwardData, "backward_data"),
    (Direction::BackwardWeights, "backward_weights"),
];

fn main() {
    let cases = cases::all();
    for case in &cases {
        println!("{}", describe(case));
    }
    println!();
    let sets = sets();
    let mut held: Option<((usize, String), Box<dyn Passes>)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("stdin is text");
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [case, dtype, direction, repeats] = fields[..] else {
            panic!("{line:?}: expected `case type direction repeats`")
        };
        let case: usize = case.parse().expect("the number of a case");
        let direction = DIRECTIONS
            .into_iter()
            .find(|(_, name)| *name == direction)
            .map(|(direction, _)| direction)
            .unwrap_or_else(|| panic!("{direction} is no direction"));
        // Operands of one case at a time: they are up to a few hundred megabytes.
        let key = (case, dtype.to_owned());
        if held.as_ref().is_none_or(|(held, _)| *held != key) {
            let operands: Box<dyn Passes> = match dtype {
                "f32" => Box::new(Operands::<f32>::new(&cases[case], sets)),
                "bf16" => Box::new(Operands::<bf16>::new(&cases[case], sets)),
                _ => panic!("{dtype} is neither f32 nor bf16"),
            };
            held = Some((key, operands));
        }
        let (_, operands) = held.as_mut().expect("just set");
        let mut best = f64::INFINITY;
        for _ in 0..repeats.parse().expect("a number of repeats") {
            let start = now();
            operands.run(direction);
            best = best.min(now() - start);
        }
        println!("{}", best * 1e3);
        std::io::stdout().flush().expect("stdout is open");
    }
}

/// `group, name, kind, times, directions` (divided by commas), GFLOP of a pass (0 where it is not counted), and the
/// geometry: batch, input and output channels, `t h w` of the input, of the kernel, of the stride and of the padding,
/// dilation of pictures, groups.
fn describe(case: &Case) -> String {
    let pool = |[b, t, h, w, c]: [usize; 5], options: marey_kernel::Pool3dOptions| {
        let geometry = [options.kernel, options.stride, options.padding];
        [vec![b, c, c, t, h, w], geometry.concat(), vec![1, 1]].concat()
    };
    let (kind, geometry) = match case.work {
        Work::Conv(shape) => {
            let options = shape.options;
            let first = [shape.batch, shape.in_channels, shape.out_channels];
            let triples = [shape.input, shape.kernel, options.stride, options.padding];
            let last = vec![options.dilation[2], options.groups];
            ("conv", [first.to_vec(), triples.concat(), last].concat())
        }
        Work::Norm([b, t, h, w, c]) => {
            let first = vec![b, c, c, t, h, w];
            ("norm", [first, vec![1; 6], vec![0, 0, 0, 1, 1]].concat())
        }
        Work::MaxPool(x, options) => ("maxpool", pool(x, options)),
        Work::AveragePool(x, options) => ("avgpool", pool(x, options)),
    };
    let gflop = match case.cost(Direction::Forward) {
        Cost::Flops(flops) => flops / 1e9,
        Cost::Elements(_) => 0.0,
    };
    let has = case.directions();
    let directions: Vec<&str> = DIRECTIONS
        .into_iter()
        .filter(|(direction, _)| has.contains(direction))
        .map(|(_, name)| name)
        .collect();
    let geometry: Vec<String> = geometry.iter().map(ToString::to_string).collect();
    let fields = [
        case.group.to_owned(),
        case.name.clone(),
        kind.to_owned(),
        case.times.to_string(),
        directions.join(","),
        gflop.to_string(),
        geometry.join(" "),
    ];
    fields.join("\t")
}

/// The instruction set that the environment asks for, which must be there.
fn sets() -> Sets {
    let Ok(wanted) = std::env::var("KERNEL_ISA") else {
        return Sets::best();
    };
    let available = Isa::available();
    let found = available
        .iter()
        .find(|isa| format!("{isa:?}").eq_ignore_ascii_case(&wanted));
    let found =
        found.unwrap_or_else(|| panic!("KERNEL_ISA={wanted}: this machine has {available:?}"));
    Sets::of(*found)
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
