//! Intel AMX: the tile instructions, and leave to use them.
//!
//! A tile is 16 rows of 64 bytes. One instruction multiplies the rows of a tile of pairs of `bf16`
//! with the columns of another and adds to a tile of `f32`. What is too small for the tiles' format
//! counts as zero, in operands and sums.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

use half::bf16;

/// Most rows of a tile.
pub(super) const ROWS: usize = 16;
/// Elements of a full row of `bf16`, and columns of a pair of tiles of sums.
pub(super) const COLUMNS: usize = 32;

/// Has the machine AMX for `bf16`, with AVX-512 beside it, and does the system let us use it?
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let has_vectors = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bf16");
        has_vectors && has_tiles() && may_use_tiles()
    })
}

fn has_tiles() -> bool {
    if __cpuid(0).eax < 7 {
        return false;
    }
    // Bits 22 and 24 of EDX: AMX-BF16 and AMX-TILE.
    let features = __cpuid_count(7, 0).edx;
    features >> 22 & 1 == 1 && features >> 24 & 1 == 1
}

/// Asks Linux for the 8 KiB of tile state, which a process does not have from the start
/// (`arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`). Other systems: no.
fn may_use_tiles() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    let answer: i64;
    // SAFETY: system call 158 with these arguments changes what the process may use, no memory.
    unsafe {
        asm!("syscall", inlateout("rax") 158i64 => answer, in("rdi") 0x1023, in("rsi") 18,
            out("rcx") _, out("r11") _, options(nostack));
    }
    answer == 0
}

/// Shapes of the eight tiles: 0 to 3 are sums, 4 and 5 left operands, 6 and 7 right ones.
#[repr(C, align(64))]
pub(super) struct Tiles {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    /// Sums of `rows` by 16, over `depth` elements at a time; `depth` is even.
    pub(super) fn new(rows: usize, depth: usize) -> Self {
        assert!((1..=ROWS).contains(&rows) && depth.is_multiple_of(2) && depth <= COLUMNS);
        let [rows, depth] = [rows, depth].map(|count| count as u8);
        let mut tiles = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        tiles.rows[..8].copy_from_slice(&[
            rows,
            rows,
            rows,
            rows,
            rows,
            rows,
            depth / 2,
            depth / 2,
        ]);
        let left = u16::from(depth) * 2;
        tiles.row_bytes[..8].copy_from_slice(&[64, 64, 64, 64, left, left, 64, 64]);
        tiles
    }

    /// Runs `work` with these tiles on this thread.
    ///
    /// # Safety
    /// [`is_available`].
    pub(super) unsafe fn with<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: the configuration is one that the hardware takes, and 64 bytes long.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack)) };
        let result = work();
        // Without this, every switch of the thread saves 8 KiB.
        // SAFETY: tiles are available.
        unsafe { asm!("tilerelease", options(nostack)) };
        result
    }
}

/// Operands of [`multiply`].
pub(super) struct Product<'a> {
    /// First pixels of two tiles.
    pub(super) pixels: [*const bf16; 2],
    /// Bytes from one pixel to the next.
    pub(super) pixel_step: usize,
    /// Offset of each run from a pixel.
    pub(super) runs: &'a [isize],
    /// Chunks of a run.
    pub(super) chunks: usize,
    /// Elements of a chunk.
    pub(super) depth: usize,
    /// For each chunk of each run: two tiles of `depth / 2` rows.
    pub(super) panel: *const bf16,
    /// `[2][16][32]`: the pixels of both tiles by 32 columns.
    pub(super) sums: *mut f32,
    /// Add to the sums instead of setting them?
    pub(super) accumulate: bool,
}

/// Two tiles of pixels by 32 columns, added up over runs.
///
/// # Safety
/// Within [`Tiles::with`] of as many rows and this depth. Every row of every chunk is readable, the
/// panel as long as it must be, the sums are this thread's.
#[inline]
pub(super) unsafe fn multiply(args: &Product) {
    // SAFETY: the contract.
    unsafe {
        let second = args.sums.add(ROWS * COLUMNS);
        start_sums(args.sums, second, COLUMNS, args.accumulate);
        let half = args.depth * ROWS;
        let mut panel = args.panel;
        for &run in args.runs {
            let [mut p, mut q] = args.pixels.map(|pixel| pixel.offset(run));
            for _ in 0..args.chunks {
                asm!(
                    "tileloadd tmm6, [{b} + {row}]",
                    "tileloadd tmm4, [{p} + {step}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{q} + {step}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tileloadd tmm7, [{c} + {row}]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    b = in(reg) panel, c = in(reg) panel.add(half), row = in(reg) 64usize,
                    p = in(reg) p, q = in(reg) q, step = in(reg) args.pixel_step,
                    options(nostack, readonly),
                );
                (p, q) = (p.wrapping_add(args.depth), q.wrapping_add(args.depth));
                panel = panel.wrapping_add(2 * half);
            }
        }
        store_sums(args.sums, second, COLUMNS);
    }
}

/// Operands of [`correlate`].
pub(super) struct Gradient<'a> {
    /// Two tiles of 16 rows (outputs) by 32 elements (pixels) for each chunk, 1 KiB each.
    pub(super) outputs: [*const bf16; 2],
    /// For each box of pixels, its first chunk: 16 rows (pairs of pixels) of 32 elements, 2 KiB each.
    pub(super) pixels: &'a [*const bf16],
    /// Chunks of a box.
    pub(super) chunks: usize,
    /// 32 rows of 32 sums.
    pub(super) sums: *mut f32,
    /// Sums from one row to the next.
    pub(super) sums_step: usize,
    /// Add to the sums instead of setting them?
    pub(super) accumulate: bool,
}

/// 32 outputs by 32 window elements, added up over pixels.
///
/// # Safety
/// Within [`Tiles::with`] of 16 rows and 32 elements. Every chunk is readable, the sums are
/// this thread's.
#[inline]
pub(super) unsafe fn correlate(args: &Gradient) {
    // SAFETY: the contract.
    unsafe {
        let second = args.sums.add(ROWS * args.sums_step);
        start_sums(args.sums, second, args.sums_step, args.accumulate);
        let [mut p, mut q] = args.outputs;
        for &pixels in args.pixels {
            let mut pixels = pixels;
            for _ in 0..args.chunks {
                asm!(
                    "tileloadd tmm6, [{b} + {pair}]",
                    "tileloadd tmm4, [{p} + {row}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{q} + {row}]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tileloadd tmm7, [{b} + {pair} + 64]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    b = in(reg) pixels, pair = in(reg) 128usize,
                    p = in(reg) p, q = in(reg) q, row = in(reg) 64usize,
                    options(nostack, readonly),
                );
                (p, q) = (
                    p.wrapping_add(ROWS * COLUMNS),
                    q.wrapping_add(ROWS * COLUMNS),
                );
                pixels = pixels.wrapping_add(2 * ROWS * COLUMNS);
            }
        }
        store_sums(args.sums, second, args.sums_step);
    }
}

/// Zeros or loads tiles 0 to 3: two by two tiles, `step` floats from row to row.
///
/// # Safety
/// Tiles are configured; the sums are readable.
#[inline(always)]
unsafe fn start_sums(first: *const f32, second: *const f32, step: usize, accumulate: bool) {
    // SAFETY: the contract.
    unsafe {
        if accumulate {
            asm!(
                "tileloadd tmm0, [{o} + {s}]", "tileloadd tmm1, [{o} + {s} + 64]",
                "tileloadd tmm2, [{q} + {s}]", "tileloadd tmm3, [{q} + {s} + 64]",
                o = in(reg) first, q = in(reg) second, s = in(reg) step * 4, options(nostack),
            );
        } else {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack)
            );
        }
    }
}

/// Stores tiles 0 to 3.
///
/// # Safety
/// As [`start_sums`]; the sums are this thread's.
#[inline(always)]
unsafe fn store_sums(first: *mut f32, second: *mut f32, step: usize) {
    // SAFETY: the contract.
    unsafe {
        asm!(
            "tilestored [{o} + {s}], tmm0", "tilestored [{o} + {s} + 64], tmm1",
            "tilestored [{q} + {s}], tmm2", "tilestored [{q} + {s} + 64], tmm3",
            o = in(reg) first, q = in(reg) second, s = in(reg) step * 4, options(nostack),
        );
    }
}
