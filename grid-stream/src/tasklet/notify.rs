//! Waking a sleeping worker: a flag, and the waker or thread behind it.

use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

const AWAKE: u8 = 0;
const NOTIFIED: u8 = 1;
const ASLEEP: u8 = 2;

/// Wakes one worker. A notification while the worker is awake is remembered: its next attempt to
/// sleep returns at once, so that a push between looking and sleeping is never missed.
#[derive(Debug, Default)]
pub struct Notify {
    state: AtomicU8,
    sleeper: Mutex<Option<Waker>>,
}

impl Notify {
    /// Wakes the worker. Cheap when it is awake.
    pub fn notify(&self) {
        // Seeing NOTIFIED is enough: the worker has yet to take that notification, and will look
        // at everything after it has.
        if self.state.load(SeqCst) == NOTIFIED {
            return;
        }
        if self.state.swap(NOTIFIED, SeqCst) == ASLEEP
            && let Some(waker) = self.sleeper.lock().take()
        {
            waker.wake();
        }
    }

    /// Takes the notification; called before looking for work.
    pub(crate) fn take(&self) {
        self.state.swap(AWAKE, SeqCst);
    }

    /// Whether there is a notification to take.
    pub(crate) fn is_notified(&self) -> bool {
        self.state.load(SeqCst) == NOTIFIED
    }

    /// A future that ends with the next notification.
    pub fn notified(self: &Arc<Self>) -> Notified {
        Notified(self.clone())
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        *self.sleeper.lock() = Some(cx.waker().clone());
        match self.state.compare_exchange(AWAKE, ASLEEP, SeqCst, SeqCst) {
            Err(NOTIFIED) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        self.notify();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

/// Future of [`Notify::notified`].
#[derive(Debug)]
pub struct Notified(Arc<Notify>);

impl Future for Notified {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_notification_before_sleeping_is_not_lost() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let notify = Notify::default();
        notify.take();
        notify.notify();
        assert!(notify.poll(&mut cx).is_ready());
        notify.take();
        assert!(notify.poll(&mut cx).is_pending());
        notify.notify();
        notify.notify();
        assert_eq!(count.0.load(SeqCst), 1, "one wake-up for many notifications");
        assert!(notify.poll(&mut cx).is_ready());
    }
}
