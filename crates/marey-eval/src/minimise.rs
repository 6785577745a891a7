//! A small L-BFGS for smooth convex functions of a few hundred numbers.

/// Pairs of steps and gradient changes that are kept.
const MEMORY: usize = 10;

/// Most iterations.
const MAX_ITERATIONS: usize = 2000;

/// The minimiser of `function`, which gives its value and gradient, from `start` on. Nocedal and Wright, "Numerical Optimization",
/// second edition, algorithms 7.4 and 3.1. It ends where no entry of the gradient exceeds `tolerance`, or where rounding allows no
/// further descent.
pub(crate) fn minimise(
    start: Vec<f64>,
    tolerance: f64,
    mut function: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Vec<f64> {
    let mut x = start;
    let (mut value, mut gradient) = function(&x);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..MAX_ITERATIONS {
        if gradient.iter().all(|entry| entry.abs() <= tolerance) {
            break;
        }
        let mut direction = direction(&gradient, &pairs);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Rounding spoilt the memory: steepest descent starts it anew.
            pairs.clear();
            direction = gradient.iter().map(|entry| -entry).collect();
            slope = dot(&direction, &gradient);
        }
        // The first step has no scale yet.
        let mut step = if pairs.is_empty() {
            1.0 / dot(&gradient, &gradient).sqrt().max(1.0)
        } else {
            1.0
        };
        let found = (0..60).find_map(|_| {
            let next: Vec<f64> = x
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + step * d)
                .collect();
            let (next_value, next_gradient) = function(&next);
            let is_lower = next_value <= value + 1e-4 * step * slope;
            step *= 0.5;
            is_lower.then_some((next, next_value, next_gradient))
        });
        let Some((next, next_value, next_gradient)) = found else {
            break;
        };
        let moved: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let changed: Vec<f64> = next_gradient
            .iter()
            .zip(&gradient)
            .map(|(a, b)| a - b)
            .collect();
        if dot(&moved, &changed) > 1e-300 {
            pairs.push((moved, changed));
            if pairs.len() > MEMORY {
                pairs.remove(0);
            }
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// Minus the gradient times the inverse Hessian that the pairs imply (two-loop recursion).
fn direction(gradient: &[f64], pairs: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
    let mut alphas = Vec::new();
    for (moved, changed) in pairs.iter().rev() {
        let alpha = dot(moved, &direction) / dot(moved, changed);
        add(&mut direction, -alpha, changed);
        alphas.push(alpha);
    }
    if let Some((moved, changed)) = pairs.last() {
        let scale = dot(moved, changed) / dot(changed, changed);
        direction.iter_mut().for_each(|entry| *entry *= scale);
    }
    for ((moved, changed), alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = dot(changed, &direction) / dot(moved, changed);
        add(&mut direction, alpha - beta, moved);
    }
    direction
}

fn add(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_a_narrow_valley_is_found() {
        // A quadratic a thousand times steeper in one direction than in another, turned so that they mix.
        let function = |x: &[f64]| {
            let (u, v) = (x[0] + x[1] - 3.0, x[0] - x[1] + 1.0);
            let value = 1000.0 * u * u + v * v;
            (value, vec![2000.0 * u + 2.0 * v, 2000.0 * u - 2.0 * v])
        };
        let found = minimise(vec![50.0, -20.0], 1e-9, function);
        assert!(
            (found[0] - 1.0).abs() < 1e-8 && (found[1] - 2.0).abs() < 1e-8,
            "{found:?}"
        );
    }
}
