//! Pictures of scenes: an uneven ground, filled ellipses, grain.

use image::{Rgb, RgbImage};
use marey_clip::SeededRng;
use rand::Rng;

/// What a fixed camera sees when nobody is there.
#[derive(Clone, Debug)]
pub(crate) struct Ground(RgbImage);

impl Ground {
    /// A dark ground with a slope of light and patches, drawn from `rng`.
    pub(crate) fn draw(width: u32, height: u32, rng: &mut SeededRng) -> Self {
        let base: [f64; 3] = std::array::from_fn(|_| rng.random_range(40.0..85.0));
        let slope = [rng.random_range(-30.0..30.0), rng.random_range(-30.0..30.0)];
        let mut ground = RgbImage::from_fn(width, height, |x, y| {
            let place = [
                f64::from(x) / f64::from(width) - 0.5,
                f64::from(y) / f64::from(height) - 0.5,
            ];
            let light = slope[0] * place[0] + slope[1] * place[1];
            Rgb(base.map(|value| (value + light).round() as u8))
        });
        for _ in 0..4 {
            let centre = [
                rng.random_range(0.0..f64::from(width)),
                rng.random_range(0.0..f64::from(height)),
            ];
            let radii = [rng.random_range(3.0..9.0), rng.random_range(3.0..9.0)];
            let shade = rng.random_range(-18.0..18.0);
            let colour = base.map(|value| (value + shade).round() as u8);
            ellipse(&mut ground, centre, radii, colour);
        }
        Self(ground)
    }

    /// A frame without anything on it, with a little grain drawn from `rng`.
    pub(crate) fn frame(&self, rng: &mut SeededRng) -> RgbImage {
        let mut frame = self.0.clone();
        for value in frame.iter_mut() {
            *value = value.saturating_add_signed(rng.random_range(-2..=2));
        }
        frame
    }
}

/// Fills an ellipse with smooth edges around `[x, y]` with `[x, y]` radii, in pixels.
pub(crate) fn ellipse(
    picture: &mut RgbImage,
    [x, y]: [f64; 2],
    [rx, ry]: [f64; 2],
    colour: [u8; 3],
) {
    let (width, height) = picture.dimensions();
    let range = |at: f64, radius: f64, size: u32| {
        let low = (at - radius - 1.0).floor().clamp(0.0, f64::from(size)) as u32;
        let high = (at + radius + 2.0).ceil().clamp(0.0, f64::from(size)) as u32;
        low..high
    };
    for py in range(y, ry, height) {
        for px in range(x, rx, width) {
            let (dx, dy) = (f64::from(px) - x, f64::from(py) - y);
            let distance = ((dx / rx).hypot(dy / ry) - 1.0) * rx.min(ry);
            let cover = (0.5 - distance).clamp(0.0, 1.0);
            let pixel = picture.get_pixel_mut(px, py);
            for (value, colour) in pixel.0.iter_mut().zip(colour) {
                let ground = f64::from(*value);
                *value = (ground + cover * (f64::from(colour) - ground)).round() as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use marey_clip::rng_for;

    use super::*;

    #[test]
    fn an_ellipse_covers_its_area_and_may_reach_out_of_the_picture() {
        let mut picture = RgbImage::new(40, 30);
        ellipse(&mut picture, [20.0, 15.0], [10.0, 5.0], [255; 3]);
        let sum: f64 = picture
            .pixels()
            .map(|pixel| f64::from(pixel.0[0]) / 255.0)
            .sum();
        assert!((sum - std::f64::consts::PI * 50.0).abs() < 8.0, "{sum}");
        ellipse(&mut picture, [-3.0, 40.0], [5.0, 30.0], [9, 9, 9]);
        ellipse(&mut picture, [500.0, -500.0], [5.0, 5.0], [9, 9, 9]);
        let ground = Ground::draw(40, 30, &mut rng_for(0, 0, 0, 0));
        let frame = ground.frame(&mut rng_for(0, 0, 0, 1));
        assert_eq!(frame.dimensions(), (40, 30));
    }
}
