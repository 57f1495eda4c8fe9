// SPDX-License-Identifier: Apache-2.0
//! The border that C calls back over: from `user` to the closure of the current poll, and no
//! panic the other way.

use crate::record::{Event, Gap, Record};
use libebpf_sys as sys;
use std::any::Any;
use std::cell::Cell;
use std::ffi::c_void;
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for std::ops::ControlFlow<()> {}
}

/// What a handler may return: nothing, to go on, or a [`ControlFlow`] to say when to stop.
///
/// ```no_run
/// use libebpf::{Consumer, Event, Protocol};
/// use std::ops::ControlFlow;
///
/// let mut consumer = Consumer::builder().open()?;
/// consumer.for_each(|event| match event {
///     Event::Record(record) if record.protocol() == Protocol::Dns => ControlFlow::Break(()),
///     _ => ControlFlow::Continue(()),
/// })?;
/// # Ok::<(), libebpf::Error>(())
/// ```
pub trait Flow: sealed::Sealed {
    #[doc(hidden)]
    fn stops(&self) -> bool;
}

impl Flow for () {
    fn stops(&self) -> bool {
        false
    }
}

impl Flow for ControlFlow<()> {
    fn stops(&self) -> bool {
        matches!(self, ControlFlow::Break(()))
    }
}

/// The closure of the poll that runs, with its type erased.
#[derive(Clone, Copy)]
struct Handler {
    closure: *mut c_void,
    call: unsafe fn(closure: *mut c_void, event: Event<'_>) -> bool,
}

/// Calls the closure; true: stop.
///
/// # Safety
/// `closure` points at an `F` that nothing else uses meanwhile.
unsafe fn call<F, R>(closure: *mut c_void, event: Event<'_>) -> bool
where
    F: FnMut(Event<'_>) -> R,
    R: Flow,
{
    // SAFETY: as this function demands.
    let closure = unsafe { &mut *closure.cast::<F>() };
    closure(event).stops()
}

/// What the C callbacks find behind `user`. It stays at one address for the life of the handle,
/// and is only ever used through shared references.
#[derive(Default)]
pub(crate) struct Slot {
    handler: Cell<Option<Handler>>,
    stopped: Cell<bool>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
}

/// What a poll came to, besides its return value.
pub(crate) struct Outcome {
    /// The handler asked to stop.
    pub(crate) stopped: bool,
    /// The handler panicked, with this.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
}

impl Slot {
    /// Runs `poll`, which may call the callbacks below, with `handler` in place.
    pub(crate) fn run<F, R>(&self, handler: &mut F, poll: impl FnOnce() -> i32) -> (i32, Outcome)
    where
        F: FnMut(Event<'_>) -> R,
        R: Flow,
    {
        let closure: *mut F = handler;
        self.handler.set(Some(Handler {
            closure: closure.cast(),
            call: call::<F, R>,
        }));
        self.stopped.set(false);
        let result = poll();
        self.handler.set(None);
        (
            result,
            Outcome {
                stopped: self.stopped.get(),
                panic: self.panic.take(),
            },
        )
    }

    fn dispatch(&self, event: Event<'_>) {
        // Taken out while it runs: there is never a second call into the same closure. Gone
        // after a panic, so that a closure that broke off is not called again.
        let handler = match self.handler.take() {
            Some(handler) => handler,
            None => return,
        };
        // The panic goes on when C has returned, so that nobody sees what it left behind.
        // SAFETY: run() keeps the closure borrowed while its handler is in place.
        match catch_unwind(AssertUnwindSafe(|| unsafe {
            (handler.call)(handler.closure, event)
        })) {
            Ok(stops) => {
                self.handler.set(Some(handler));
                if stops {
                    self.stopped.set(true);
                }
            }
            Err(panic) => {
                self.panic.set(Some(panic));
                self.stopped.set(true);
            }
        }
    }
}

/// # Safety
/// `user` is the handle's slot; `record` as C delivers it.
pub(crate) unsafe extern "C" fn on_record(
    record: *const sys::ebpf_record,
    lane: u32,
    user: *mut c_void,
) -> sys::c_int {
    // SAFETY: the slot outlives the handle, the record this call.
    let (slot, record) = unsafe { (&*user.cast::<Slot>(), Record::new(record, lane)) };
    slot.dispatch(Event::Record(record));
    slot.stopped.get().into()
}

/// # Safety
/// `user` is the handle's slot; `gap` as C delivers it.
pub(crate) unsafe extern "C" fn on_gap(gap: *const sys::ebpf_gap, lane: u32, user: *mut c_void) {
    // SAFETY: the slot outlives the handle, the gap this call.
    let (slot, gap) = unsafe { (&*user.cast::<Slot>(), Gap::new(&*gap, lane)) };
    slot.dispatch(Event::Gap(gap));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{sample, Sample};
    use crate::record::GapCause;

    fn deliver(slot: &Slot, sample: &Sample) -> i32 {
        let record = sample as *const Sample as *const sys::ebpf_record;
        // SAFETY: both live longer than the call.
        unsafe { on_record(record, 1, slot as *const Slot as *mut c_void) }
    }

    fn deliver_gap(slot: &Slot) {
        let gap = sys::ebpf_gap {
            length_bytes: 40,
            kind: sys::EBPF_RECORD_GAP,
            reserved: 0,
            seq: 5,
            count: 3,
            timestamp_us: 8,
            cause: sys::EBPF_GAP_LAPPED,
            reserved2: 0,
        };
        // SAFETY: both live longer than the call.
        unsafe { on_gap(&gap, 2, slot as *const Slot as *mut c_void) }
    }

    #[test]
    fn records_and_gaps_reach_the_closure_in_order() {
        let slot = Slot::default();
        let sample = sample();
        let mut seen = Vec::new();
        let mut handler = |event: Event<'_>| match event {
            Event::Record(record) => seen.push((record.seq(), record.payload().len())),
            Event::Gap(gap) => {
                let expected = Gap {
                    cause: GapCause::Lapped,
                    count: 3,
                    lane: 2,
                    seq: 5,
                    timestamp_us: 8,
                };
                assert_eq!(gap, expected);
                seen.push((gap.seq, 0));
            }
        };
        let (result, outcome) = slot.run(&mut handler, || {
            assert_eq!(deliver(&slot, &sample), 0);
            deliver_gap(&slot);
            assert_eq!(deliver(&slot, &sample), 0);
            2
        });
        assert_eq!(result, 2);
        assert!(!outcome.stopped && outcome.panic.is_none());
        assert_eq!(seen, [(9, 16), (5, 0), (9, 16)]);
    }

    #[test]
    fn a_break_ends_the_poll() {
        let slot = Slot::default();
        let sample = sample();
        let mut handler = |_: Event<'_>| ControlFlow::Break(());
        let (_, outcome) = slot.run(&mut handler, || deliver(&slot, &sample));
        assert!(outcome.stopped);
        let (result, outcome) = slot.run(&mut |_: Event<'_>| (), || deliver(&slot, &sample));
        assert_eq!(result, 0);
        assert!(!outcome.stopped);
    }

    #[test]
    fn a_panic_stays_out_of_c_and_ends_the_poll() {
        let slot = Slot::default();
        let sample = sample();
        let mut calls = 0;
        let mut handler = |_: Event<'_>| -> () {
            calls += 1;
            // Without the panic hook's message on standard error.
            std::panic::resume_unwind(Box::new("broken"));
        };
        let (_, outcome) = slot.run(&mut handler, || {
            deliver_gap(&slot);
            assert_eq!(deliver(&slot, &sample), 1);
            1
        });
        assert_eq!(calls, 1);
        assert_eq!(
            *outcome.panic.unwrap().downcast::<&str>().unwrap(),
            "broken"
        );
    }

    #[test]
    fn nothing_is_called_outside_of_a_poll() {
        let slot = Slot::default();
        assert_eq!(deliver(&slot, &sample()), 0);
        deliver_gap(&slot);
    }
}
