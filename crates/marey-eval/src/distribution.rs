//! The few probability distributions that intervals and tests need.

/// The 97.5 % quantile of Student's t with `degrees` degrees of freedom, above 0 and not always whole: 12.71 for 1, towards 1.96 for many;
/// at most a million.
pub(crate) fn student_t(degrees: f64) -> f64 {
    // P(|T| > t) = I_{d / (d + t²)}(d / 2, 1 / 2); Abramowitz and Stegun 26.7.1 and 26.5.27.
    let outside = |t: f64| beta_regularised(degrees / 2.0, 0.5, degrees / (degrees + t * t));
    bisect([0.0, 1e6], |t| outside(t) > 0.05)
}

/// Garwood's exact 95 % interval of the mean of a Poisson count. Garwood, Biometrika 28 (1936), pp. 437-442.
pub(crate) fn poisson_interval(count: u64) -> [f64; 2] {
    let k = count as f64;
    // Ten standard deviations up: beyond it the series below would start at a term that underflows.
    let most = k + 10.0 * k.sqrt() + 20.0;
    let low = match count {
        0 => 0.0,
        _ => bisect([0.0, most], |mean| gamma_regularised(k, mean) < 0.025),
    };
    // P(X <= k) = 1 - P(k + 1, mean).
    let high = bisect([0.0, most], |mean| {
        1.0 - gamma_regularised(k + 1.0, mean) > 0.025
    });
    [low, high]
}

/// The two-sided exact probability that a fair coin falls at least as unevenly as `[heads, tails]`.
pub(crate) fn fair_coin_p([heads, tails]: [u64; 2]) -> f64 {
    let (n, fewer) = (heads + tails, heads.min(tails));
    let ln_choose = |k: u64| {
        ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
    };
    let tail: f64 = (0..=fewer)
        .map(|k| (ln_choose(k) - n as f64 * std::f64::consts::LN_2).exp())
        .sum();
    (2.0 * tail).min(1.0)
}

/// Where `is_below` turns false, in 200 halvings at most.
fn bisect([mut low, mut high]: [f64; 2], is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// ln Γ(x) for x > 0, by Stirling's series above 15 and the recurrence below; error under 1e-12.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    // Abramowitz and Stegun 6.1.41.
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

/// The regularised incomplete beta function I_x(a, b), by the continued fraction of Abramowitz and Stegun 26.5.8.
fn beta_regularised(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let ln_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    // The fraction converges quickly below the mean only; above it the mirrored one does.
    if x < (a + 1.0) / (a + b + 2.0) {
        ln_front.exp() * beta_fraction(a, b, x) / a
    } else {
        1.0 - ln_front.exp() * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction, by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut fraction) = (1.0, d);
    for m in 1..100_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// The regularised lower incomplete gamma function P(a, x), by its series (Abramowitz and Stegun 6.5.29). All terms are positive,
/// so nothing cancels; it takes about `x` terms.
fn gamma_regularised(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let mut term = (a * x.ln() - x - ln_gamma(a + 1.0)).exp();
    let (mut sum, mut n) = (term, a);
    loop {
        n += 1.0;
        term *= x / n;
        sum += term;
        // Beyond n = x the terms fall; before, they may start at 0 by underflow and never matter again.
        if n > x && term <= sum * 1e-17 {
            break;
        }
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // scipy.stats.t.ppf(0.975, degrees)
        let cases = [
            (0.5, 164.557_673_480_488),
            (1.0, 12.706_204_736_174_69),
            (2.0, 4.302_652_729_749_46),
            (4.0, 2.776_445_105_197_79),
            (9.0, 2.262_157_162_798_21),
            (39.0, 2.022_690_920_036_76),
            (999.0, 1.962_341_461_133_45),
            (100_000.0, 1.959_987_707_534_61),
        ];
        for (degrees, expected) in cases {
            let found = student_t(degrees);
            assert!((found / expected - 1.0).abs() < 1e-8, "{degrees}: {found}");
        }
    }

    #[test]
    fn poisson_intervals_are_garwoods() {
        // scipy.stats.chi2.ppf([0.025, 0.975], [2 k, 2 k + 2]) / 2
        let cases = [
            (0, [0.0, 3.688_879_454_113_94]),
            (1, [0.025_317_807_984_289_9, 5.571_643_390_938_89]),
            (10, [4.795_388_696_132_43, 18.390_356_042_017_8]),
            (1000, [938.973_018_407_7, 1_063.952_136_016_3]),
        ];
        for (count, expected) in cases {
            let found = poisson_interval(count);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{count}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_fair_coin_is_not_suspected() {
        // scipy.stats.binomtest(heads, heads + tails, 0.5).pvalue
        let cases = [
            ([0, 0], 1.0),
            ([5, 5], 1.0),
            ([1, 9], 0.021_484_375),
            ([0, 6], 0.031_25),
            ([40, 60], 0.056_887_933_640_981),
            ([60_000, 60_600], 0.084_552_769_886_157),
        ];
        for (counts, expected) in cases {
            let found = fair_coin_p(counts);
            assert!((found - expected).abs() < 1e-9, "{counts:?}: {found}");
        }
    }
}
