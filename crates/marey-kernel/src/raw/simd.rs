//! Vectors of `f32` and the choice of instruction set at run time.
//!
//! A kernel is written once, generic over [`Vector`], as a [`Job`]. [`Isa::run`] enters it through
//! a function compiled for the chosen instruction set; every function on the way from there to the
//! vector operations is `inline(always)`, so that the compiler sees one function per set.

use std::sync::OnceLock;

use half::{bf16, f16};

/// Instruction sets for which kernels exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 16 lanes, AVX-512 F, BW and VL.
    Avx512,
    /// 8 lanes, AVX2 with FMA and F16C.
    Avx2,
    /// No intrinsics; any target.
    Portable,
}

impl Isa {
    /// The fastest set of this machine.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// Every set this machine can run, fastest first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            // The AVX-512 entry also turns the AVX2 sets on.
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            if has_avx2 && has_avx512 {
                sets.push(Self::Avx512);
            }
            if has_avx2 {
                sets.push(Self::Avx2);
            }
        }
        sets.push(Self::Portable);
        sets
    }

    /// The set's name, as processors' makers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        }
    }

    /// Runs `job` with this set's vectors.
    ///
    /// # Safety
    /// The machine has this set (it came from [`Isa::best`] or [`Isa::available`]), and whatever
    /// `job` asks for holds.
    pub(crate) unsafe fn run<J: Job>(self, job: J) -> J::Output {
        // SAFETY: the caller vouches for the set and the job.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => x86::run_avx512(job),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => x86::run_avx2(job),
                _ => job.run::<[f32; 8]>(),
            }
        }
    }
}

/// Runs `job` with AVX-512 and its instructions for pairs of bf16.
///
/// # Safety
/// The machine has AVX-512 with BF16, and whatever `job` asks for holds.
pub(crate) unsafe fn run_pairs<J: Job>(job: J) -> J::Output {
    // SAFETY: the caller vouches for the set and the job.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        return x86::run_avx512_bf16(job);
        #[cfg(not(target_arch = "x86_64"))]
        return job.run::<[f32; 8]>();
    }
}

/// Work that is written for any vector.
pub(crate) trait Job {
    /// What it gives back.
    type Output;

    /// Does the work. Implementations are `inline(always)`.
    ///
    /// # Safety
    /// The machine has the instructions of `V`; the pointers in `self` are valid as its type says.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// A vector of `f32`.
///
/// # Safety
/// Every method needs the instruction set of the type; loads and stores need `LANES` valid floats,
/// at any alignment.
pub trait Vector: Copy {
    /// Floats in a vector.
    const LANES: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// The square root, rounded to nearest; NaN of what is negative.
    unsafe fn sqrt(self) -> Self;
    /// `self * factor + addend`; fused where the hardware can.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The larger one; `other` if either is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// The smaller one; `other` if either is NaN.
    unsafe fn min(self, other: Self) -> Self;
    /// The larger one; NaN if either is NaN.
    unsafe fn max_or_nan(self, other: Self) -> Self;
    /// `then` where `self > bound`, else 0 (also where either is NaN).
    unsafe fn keep_above(self, bound: Self, then: Self) -> Self;
    /// `then` where `self < bound`, else 0 (also where either is NaN).
    unsafe fn keep_below(self, bound: Self, then: Self) -> Self;
    /// `then` where `self == other`, else 0.
    unsafe fn keep_equal(self, other: Self, then: Self) -> Self;
    /// Puts `value` and `value_place` in the place of `self` and `place` where it is larger, or where it
    /// alone is NaN; gives both.
    unsafe fn larger_with_place(self, place: Self, value: Self, value_place: Self) -> [Self; 2];
    /// 2 to the power of `self`, which holds whole numbers in -126..=127.
    unsafe fn exp2_whole(self) -> Self;

    /// `addend` plus both products of the pairs of bf16 that the lanes of `self` and `factor` hold.
    unsafe fn dot_pairs(self, factor: Self, addend: Self) -> Self;

    /// `LANES` bf16 values, as their bits.
    unsafe fn load_bf16(from: *const u16) -> Self;
    /// Rounded to bf16, to nearest even; NaN stays NaN.
    unsafe fn store_bf16(self, to: *mut u16);
    /// `LANES` f16 values, as their bits.
    unsafe fn load_f16(from: *const u16) -> Self;
    /// Rounded to f16, to nearest even; NaN stays NaN.
    unsafe fn store_f16(self, to: *mut u16);

    /// The first `len` lanes from memory, zeros after them; nothing behind them is touched. At most `LANES`.
    unsafe fn load_first(from: *const f32, len: usize) -> Self;
    /// Writes the first `len` lanes, and nothing behind them. At most `LANES`.
    unsafe fn store_first(self, to: *mut f32, len: usize);

    /// As [`Vector::load_first`], of bf16.
    #[inline(always)]
    unsafe fn load_first_bf16(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller gives `len` elements; the stack holds a whole vector.
        unsafe { Self::load_bf16(first_of(from, len).as_ptr()) }
    }
    /// As [`Vector::store_first`], of bf16.
    #[inline(always)]
    unsafe fn store_first_bf16(self, to: *mut u16, len: usize) {
        let mut lanes = [0; MAX_LANES];
        // SAFETY: as above.
        unsafe {
            self.store_bf16(lanes.as_mut_ptr());
            to.copy_from_nonoverlapping(lanes.as_ptr(), len);
        }
    }
    /// As [`Vector::load_first`], of f16.
    #[inline(always)]
    unsafe fn load_first_f16(from: *const u16, len: usize) -> Self {
        // SAFETY: as above.
        unsafe { Self::load_f16(first_of(from, len).as_ptr()) }
    }
    /// As [`Vector::store_first`], of f16.
    #[inline(always)]
    unsafe fn store_first_f16(self, to: *mut u16, len: usize) {
        let mut lanes = [0; MAX_LANES];
        // SAFETY: as above.
        unsafe {
            self.store_f16(lanes.as_mut_ptr());
            to.copy_from_nonoverlapping(lanes.as_ptr(), len);
        }
    }
}

/// `len` elements, zeros after them.
///
/// # Safety
/// So many are valid, at most `MAX_LANES`.
#[inline(always)]
unsafe fn first_of<T: Copy + Default>(from: *const T, len: usize) -> [T; MAX_LANES] {
    let mut lanes = [T::default(); MAX_LANES];
    // SAFETY: the contract of this function.
    unsafe { lanes.as_mut_ptr().copy_from_nonoverlapping(from, len) };
    lanes
}

/// Lanes of the widest vector.
pub(crate) const MAX_LANES: usize = 16;

impl Vector for [f32; 8] {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives 8 valid floats; an array read needs the alignment of a float.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives room for 8 floats.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] + other[i])
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] - other[i])
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] * other[i])
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] / other[i])
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // Not `f32::mul_add`: without hardware support that is a library call a lane.
        std::array::from_fn(|i| self[i] * factor[i] + addend[i])
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        std::array::from_fn(|i| {
            if self[i] > other[i] {
                self[i]
            } else {
                other[i]
            }
        })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        std::array::from_fn(|i| {
            if self[i] < other[i] {
                self[i]
            } else {
                other[i]
            }
        })
    }
    #[inline(always)]
    unsafe fn max_or_nan(self, other: Self) -> Self {
        let keep = |i: usize| self[i] > other[i] || self[i].is_nan();
        std::array::from_fn(|i| if keep(i) { self[i] } else { other[i] })
    }
    #[inline(always)]
    unsafe fn keep_above(self, bound: Self, then: Self) -> Self {
        std::array::from_fn(|i| if self[i] > bound[i] { then[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn keep_below(self, bound: Self, then: Self) -> Self {
        std::array::from_fn(|i| if self[i] < bound[i] { then[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn keep_equal(self, other: Self, then: Self) -> Self {
        std::array::from_fn(|i| if self[i] == other[i] { then[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn larger_with_place(self, place: Self, value: Self, value_place: Self) -> [Self; 2] {
        let wins = |i: usize| value[i] > self[i] || (value[i].is_nan() && !self[i].is_nan());
        let pick =
            |old: Self, new: Self| std::array::from_fn(|i| if wins(i) { new[i] } else { old[i] });
        [pick(self, value), pick(place, value_place)]
    }
    #[inline(always)]
    unsafe fn exp2_whole(self) -> Self {
        std::array::from_fn(|i| f32::from_bits(((self[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn dot_pairs(self, factor: Self, addend: Self) -> Self {
        let low = |lane: f32| f32::from_bits(lane.to_bits() << 16);
        let high = |lane: f32| f32::from_bits(lane.to_bits() & 0xffff_0000);
        std::array::from_fn(|i| {
            let (a, b) = (self[i], factor[i]);
            addend[i] + low(a) * low(b) + high(a) * high(b)
        })
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller gives 8 valid elements; an array read needs their alignment.
        let bits = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        bits.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        let bits = self.map(|value| bf16::from_f32(value).to_bits());
        // SAFETY: the caller gives room for 8 elements.
        unsafe { to.cast::<[u16; 8]>().write_unaligned(bits) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller gives 8 valid elements; an array read needs their alignment.
        let bits = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        bits.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16) {
        let bits = self.map(|value| f16::from_f32(value).to_bits());
        // SAFETY: the caller gives room for 8 elements.
        unsafe { to.cast::<[u16; 8]>().write_unaligned(bits) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, len: usize) -> Self {
        // SAFETY: the caller gives `len` floats; the stack holds a whole vector.
        unsafe { Self::load(first_of(from, len).as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, len: usize) {
        // SAFETY: the caller gives room for `len` floats, at most 8.
        unsafe { to.copy_from_nonoverlapping(self.as_ptr(), len) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Job, Vector};

    /// # Safety
    /// As [`Isa::run`](super::Isa::run), for AVX-512 F, BW and VL.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma,f16c")]
    pub(super) unsafe fn run_avx512<J: Job>(job: J) -> J::Output {
        // SAFETY: this function is entered on machines with these only.
        unsafe { job.run::<__m512>() }
    }

    /// # Safety
    /// As [`Isa::run`](super::Isa::run), for the same with BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    pub(super) unsafe fn run_avx512_bf16<J: Job>(job: J) -> J::Output {
        // SAFETY: this function is entered on machines with these only.
        unsafe { job.run::<__m512>() }
    }

    /// # Safety
    /// As [`Isa::run`](super::Isa::run), for AVX2, FMA and F16C.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn run_avx2<J: Job>(job: J) -> J::Output {
        // SAFETY: this function is entered on machines with these only.
        unsafe { job.run::<__m256>() }
    }

    /// A vector operation that maps to one intrinsic.
    macro_rules! one_to_one {
        ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty = $intrinsic:ident;)*) => {$(
            #[inline(always)]
            unsafe fn $name($($arg: $ty),*) -> $out {
                // SAFETY: the caller has the instruction set, and valid pointers where one is given.
                unsafe { $intrinsic($($arg),*) }
            }
        )*};
    }

    impl Vector for __m512 {
        const LANES: usize = 16;
        one_to_one! {
            splat(value: f32) -> Self = _mm512_set1_ps;
            load(from: *const f32) -> Self = _mm512_loadu_ps;
            add(self: Self, other: Self) -> Self = _mm512_add_ps;
            sub(self: Self, other: Self) -> Self = _mm512_sub_ps;
            mul(self: Self, other: Self) -> Self = _mm512_mul_ps;
            div(self: Self, other: Self) -> Self = _mm512_div_ps;
            sqrt(self: Self) -> Self = _mm512_sqrt_ps;
            mul_add(self: Self, factor: Self, addend: Self) -> Self = _mm512_fmadd_ps;
            max(self: Self, other: Self) -> Self = _mm512_max_ps;
            min(self: Self, other: Self) -> Self = _mm512_min_ps;
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller gives room for 16 floats.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn keep_above(self, bound: Self, then: Self) -> Self {
            // SAFETY: the caller has AVX-512F.
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(self, bound), then) }
        }
        #[inline(always)]
        unsafe fn keep_below(self, bound: Self, then: Self) -> Self {
            // SAFETY: the caller has AVX-512F.
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self, bound), then) }
        }
        #[inline(always)]
        unsafe fn max_or_nan(self, other: Self) -> Self {
            // SAFETY: the caller has AVX-512F. The maximum is `other` if either is NaN.
            unsafe {
                let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self, self);
                _mm512_mask_mov_ps(_mm512_max_ps(self, other), is_nan, self)
            }
        }
        #[inline(always)]
        unsafe fn keep_equal(self, other: Self, then: Self) -> Self {
            // SAFETY: the caller has AVX-512F.
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self, other), then) }
        }
        #[inline(always)]
        unsafe fn larger_with_place(
            self,
            place: Self,
            value: Self,
            value_place: Self,
        ) -> [Self; 2] {
            // SAFETY: the caller has AVX-512F.
            unsafe {
                let is_number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self, self);
                let wins = _mm512_mask_cmp_ps_mask::<_CMP_NLE_UQ>(is_number, value, self);
                [
                    _mm512_mask_mov_ps(self, wins, value),
                    _mm512_mask_mov_ps(place, wins, value_place),
                ]
            }
        }
        #[inline(always)]
        unsafe fn exp2_whole(self) -> Self {
            // SAFETY: the caller has AVX-512F.
            unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), self) }
        }
        #[inline(always)]
        unsafe fn dot_pairs(self, factor: Self, addend: Self) -> Self {
            // SAFETY: called from `run_avx512_bf16` only; lanes are 32 plain bits.
            unsafe {
                let [a, b] = [self, factor].map(|v| std::mem::transmute::<Self, __m512bh>(v));
                _mm512_dpbf16_ps(addend, a, b)
            }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            // SAFETY: the caller has AVX-512F and gives 16 elements.
            unsafe { widen_bf16(_mm256_loadu_si256(from.cast())) }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u16) {
            // SAFETY: the caller has AVX-512F and gives room for 16 elements.
            unsafe { _mm256_storeu_si256(to.cast(), narrow_bf16(self)) }
        }
        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            // SAFETY: the caller has AVX-512F and gives 16 elements.
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
        }
        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16) {
            // SAFETY: the caller has AVX-512F and gives room for 16 elements.
            unsafe {
                let half = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self);
                _mm256_storeu_si256(to.cast(), half);
            }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, len: usize) -> Self {
            // SAFETY: the caller has AVX-512F and gives `len` floats; the mask keeps to them.
            unsafe { _mm512_maskz_loadu_ps(first_lanes(len), from) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, len: usize) {
            // SAFETY: as above, to be written.
            unsafe { _mm512_mask_storeu_ps(to, first_lanes(len), self) }
        }
        #[inline(always)]
        unsafe fn load_first_bf16(from: *const u16, len: usize) -> Self {
            // SAFETY: the caller has AVX-512 BW and VL and gives `len` elements; the mask keeps to them.
            unsafe { widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(len), from.cast())) }
        }
        #[inline(always)]
        unsafe fn store_first_bf16(self, to: *mut u16, len: usize) {
            // SAFETY: as above, to be written.
            unsafe { _mm256_mask_storeu_epi16(to.cast(), first_lanes(len), narrow_bf16(self)) }
        }
        #[inline(always)]
        unsafe fn load_first_f16(from: *const u16, len: usize) -> Self {
            // SAFETY: as for bf16.
            unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(len), from.cast())) }
        }
        #[inline(always)]
        unsafe fn store_first_f16(self, to: *mut u16, len: usize) {
            // SAFETY: as for bf16.
            unsafe {
                let half = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self);
                _mm256_mask_storeu_epi16(to.cast(), first_lanes(len), half);
            }
        }
    }

    /// A mask of the first `len` lanes, at most 16.
    #[inline(always)]
    fn first_lanes(len: usize) -> __mmask16 {
        ((1u32 << len) - 1) as __mmask16
    }

    /// The values of 16 bf16.
    ///
    /// # Safety
    /// The machine has AVX-512F.
    #[inline(always)]
    unsafe fn widen_bf16(bits: __m256i) -> __m512 {
        // SAFETY: the contract of this function.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits))) }
    }

    /// The nearest bf16, ties to even; NaN stays NaN.
    ///
    /// # Safety
    /// The machine has AVX-512F.
    #[inline(always)]
    unsafe fn narrow_bf16(values: __m512) -> __m256i {
        // SAFETY: the contract of this function.
        unsafe {
            let bits = _mm512_castps_si512(values);
            let high = _mm512_srli_epi32::<16>(bits);
            // Half a unit less one, plus the last bit that stays: rounds to even.
            let half = _mm512_add_epi32(
                _mm512_and_si512(high, _mm512_set1_epi32(1)),
                _mm512_set1_epi32(0x7fff),
            );
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
            let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
            let quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
            _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, is_nan, quiet))
        }
    }

    /// All bits of the first `len` lanes, at most 8.
    ///
    /// # Safety
    /// The machine has AVX2.
    #[inline(always)]
    unsafe fn first_lanes_256(len: usize) -> __m256i {
        // SAFETY: the contract of this function.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(len as i32), lanes)
        }
    }

    impl Vector for __m256 {
        const LANES: usize = 8;
        one_to_one! {
            splat(value: f32) -> Self = _mm256_set1_ps;
            load(from: *const f32) -> Self = _mm256_loadu_ps;
            add(self: Self, other: Self) -> Self = _mm256_add_ps;
            sub(self: Self, other: Self) -> Self = _mm256_sub_ps;
            mul(self: Self, other: Self) -> Self = _mm256_mul_ps;
            div(self: Self, other: Self) -> Self = _mm256_div_ps;
            sqrt(self: Self) -> Self = _mm256_sqrt_ps;
            mul_add(self: Self, factor: Self, addend: Self) -> Self = _mm256_fmadd_ps;
            max(self: Self, other: Self) -> Self = _mm256_max_ps;
            min(self: Self, other: Self) -> Self = _mm256_min_ps;
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller gives room for 8 floats.
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn keep_above(self, bound: Self, then: Self) -> Self {
            // SAFETY: the caller has AVX2.
            unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self, bound), then) }
        }
        #[inline(always)]
        unsafe fn keep_below(self, bound: Self, then: Self) -> Self {
            // SAFETY: the caller has AVX2.
            unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(self, bound), then) }
        }
        #[inline(always)]
        unsafe fn max_or_nan(self, other: Self) -> Self {
            // SAFETY: the caller has AVX2. The maximum is `other` if either is NaN.
            unsafe {
                let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self, self);
                _mm256_blendv_ps(_mm256_max_ps(self, other), self, is_nan)
            }
        }
        #[inline(always)]
        unsafe fn keep_equal(self, other: Self, then: Self) -> Self {
            // SAFETY: the caller has AVX2.
            unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(self, other), then) }
        }
        #[inline(always)]
        unsafe fn larger_with_place(
            self,
            place: Self,
            value: Self,
            value_place: Self,
        ) -> [Self; 2] {
            // SAFETY: the caller has AVX2.
            unsafe {
                let is_number = _mm256_cmp_ps::<_CMP_ORD_Q>(self, self);
                let is_not_less = _mm256_cmp_ps::<_CMP_NLE_UQ>(value, self);
                let wins = _mm256_and_ps(is_number, is_not_less);
                [
                    _mm256_blendv_ps(self, value, wins),
                    _mm256_blendv_ps(place, value_place, wins),
                ]
            }
        }
        #[inline(always)]
        unsafe fn exp2_whole(self) -> Self {
            // SAFETY: the caller has AVX2.
            unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(self), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            }
        }
        #[inline(always)]
        unsafe fn dot_pairs(self, factor: Self, addend: Self) -> Self {
            // SAFETY: the caller has AVX2.
            unsafe {
                let low = |v| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(v)));
                let mask = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32));
                let high = |v| _mm256_and_ps(v, mask);
                let sum = _mm256_fmadd_ps(low(self), low(factor), addend);
                _mm256_fmadd_ps(high(self), high(factor), sum)
            }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            // SAFETY: the caller has AVX2 and gives 8 elements.
            unsafe {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u16) {
            // SAFETY: the caller has AVX2 and gives room for 8 elements.
            unsafe {
                let bits = _mm256_castps_si256(self);
                let high = _mm256_srli_epi32::<16>(bits);
                // Half a unit less one, plus the last bit that stays: rounds to even.
                let half = _mm256_add_epi32(
                    _mm256_and_si256(high, _mm256_set1_epi32(1)),
                    _mm256_set1_epi32(0x7fff),
                );
                let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
                let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self, self));
                let quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
                let rounded = _mm256_blendv_epi8(rounded, quiet, is_nan);
                let low = _mm256_castsi256_si128(rounded);
                let packed = _mm_packus_epi32(low, _mm256_extracti128_si256::<1>(rounded));
                _mm_storeu_si128(to.cast(), packed);
            }
        }
        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            // SAFETY: the caller has F16C and gives 8 elements.
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
        }
        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16) {
            // SAFETY: the caller has F16C and gives room for 8 elements.
            unsafe {
                let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self);
                _mm_storeu_si128(to.cast(), half);
            }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, len: usize) -> Self {
            // SAFETY: the caller has AVX2 and gives `len` floats; the mask keeps to them.
            unsafe { _mm256_maskload_ps(from, first_lanes_256(len)) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, len: usize) {
            // SAFETY: as above, to be written.
            unsafe { _mm256_maskstore_ps(to, first_lanes_256(len), self) }
        }
    }
}
