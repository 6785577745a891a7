//! Channels that move to the neighbouring frame (Lin, Gan and Han, "TSM: Temporal Shift Module for Efficient Video
//! Understanding", ICCV 2019): a copy in one pass, with no arithmetic.

use super::element::Element;
use super::lstm::TimeOrder;
use super::parallel::for_each_piece;

/// In each frame of `y` the first `fold` channels are those of the next frame of `x`, the next `fold` those of the frame
/// before, and the rest the frame's own; zeros stand for frames outside the clip. With [`TimeOrder::Backward`] next and
/// before change places, which is the gradient.
///
/// `frames` is the number of frames of a clip, `channels` that of a pixel.
///
/// # Panics
/// If `x` is not a whole number of clips, `y` has another length, or `2 * fold` channels are more than there are.
pub fn temporal_shift<E: Element>(
    [clips, frames, pixels, channels]: [usize; 4],
    fold: usize,
    order: TimeOrder,
    x: &[E],
    y: &mut [E],
) {
    let frame = pixels * channels;
    assert!(
        x.len() == clips * frames * frame && y.len() == x.len() && 2 * fold <= channels,
        "{} values and {} for {clips} clips of {frames} frames of {pixels} pixels, {fold} of {channels} channels moved",
        x.len(),
        y.len()
    );
    for_each_piece(y, frame, |at, to| {
        let time = at % frames;
        let own = &x[at * frame..][..frame];
        let next = (time + 1 < frames).then(|| &x[(at + 1) * frame..][..frame]);
        let before = (time > 0).then(|| &x[(at - 1) * frame..][..frame]);
        let (first, second) = match order {
            TimeOrder::Forward => (next, before),
            TimeOrder::Backward => (before, next),
        };
        for (pixel, to) in to.chunks_exact_mut(channels).enumerate() {
            let start = pixel * channels;
            for (part, from) in [first, second].into_iter().enumerate() {
                let part = part * fold..(part + 1) * fold;
                match from {
                    Some(from) => to[part.clone()].copy_from_slice(&from[start..][part]),
                    None => to[part].fill(E::default()),
                }
            }
            to[2 * fold..].copy_from_slice(&own[start..][2 * fold..channels]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_channel_comes_from_the_next_frame_and_the_second_from_the_one_before() {
        // Two clips of three frames of one pixel of three channels: clip, frame and channel are the digits.
        let x: Vec<f32> = (1..3)
            .flat_map(|clip| (1..4).map(move |frame| (clip, frame)))
            .flat_map(|(clip, frame)| (1..4).map(move |c| (clip * 100 + frame * 10 + c) as f32))
            .collect();
        let mut y = vec![f32::NAN; x.len()];
        temporal_shift([2, 3, 1, 3], 1, TimeOrder::Forward, &x, &mut y);
        assert_eq!(y[..9], [121., 0., 113., 131., 112., 123., 0., 122., 133.]);
        assert_eq!(y[9..], [221., 0., 213., 231., 212., 223., 0., 222., 233.]);
        temporal_shift([2, 3, 1, 3], 1, TimeOrder::Backward, &x, &mut y);
        assert_eq!(y[..9], [0., 122., 113., 111., 132., 123., 121., 0., 133.]);
    }
}
