//! Whether sums may be reordered, for the whole process.

use std::sync::atomic::{AtomicBool, Ordering};

/// The order in which threads' shares of a sum are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SumOrder {
    /// The same in every run, so that results are the same to the bit.
    #[default]
    Fixed,
    /// Whichever share is done first, where that is faster; the last bits differ from run to run.
    Free,
}

static ORDER: Setting = Setting::new();

/// Sets the order for every kernel that starts from now on, in any thread; [`SumOrder::Fixed`] until then.
///
/// It is one setting for the process, since a backward pass is started by the autodiff engine, which has no
/// argument to pass it in. A run that is to be deterministic must be the only one in its process that sets it.
pub fn set_sum_order(order: SumOrder) {
    ORDER.set(order);
}

/// The order in force.
pub fn sum_order() -> SumOrder {
    ORDER.get()
}

/// An order that threads share. It guards no other memory.
struct Setting {
    is_free: AtomicBool,
}

impl Setting {
    const fn new() -> Self {
        Self {
            is_free: AtomicBool::new(false),
        }
    }

    fn set(&self, order: SumOrder) {
        self.is_free
            .store(order == SumOrder::Free, Ordering::Relaxed);
    }

    fn get(&self) -> SumOrder {
        if self.is_free.load(Ordering::Relaxed) {
            SumOrder::Free
        } else {
            SumOrder::Fixed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a setting of its own: the process's would change sums under the tests beside this one.
    #[test]
    fn sums_are_in_a_fixed_order_until_told_otherwise() {
        let setting = Setting::new();
        assert_eq!(
            (setting.get(), sum_order()),
            (SumOrder::Fixed, SumOrder::Fixed)
        );
        for order in [SumOrder::Free, SumOrder::Fixed] {
            setting.set(order);
            assert_eq!(setting.get(), order);
        }
    }
}
