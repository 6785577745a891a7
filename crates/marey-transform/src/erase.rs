//! Painting a rectangle over a frame.

use crate::augment::Rectangle;

/// Fills `rectangle` of an RGB frame that is `width` pixels wide with one colour.
pub(crate) fn fill(frame: &mut [u8], width: usize, rectangle: Rectangle, color: [u8; 3]) {
    let columns = 3 * rectangle.left..3 * (rectangle.left + rectangle.width);
    for row in frame
        .chunks_exact_mut(3 * width)
        .skip(rectangle.top)
        .take(rectangle.height)
    {
        for pixel in row[columns.clone()].chunks_exact_mut(3) {
            pixel.copy_from_slice(&color);
        }
    }
}
