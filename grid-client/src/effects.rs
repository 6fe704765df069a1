//! What follows from a change of the client's state, to be done once its lock is released.

use crate::controls::Waiting;
use crate::driver;
use crate::shared::Shared;
use grid_core::control::StructureKind;
use grid_core::error::Result;
use grid_core::handle::Mailbox;
use grid_core::wire::control::ControlReply;
use std::sync::Arc;
use std::task::Waker;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) answers: Vec<(Waiting, Result<ControlReply>)>,
    /// Lanes that are new: somebody has to connect them.
    pub(crate) lanes: Vec<usize>,
    /// Names of running subscriptions whose ids are void.
    pub(crate) declare: Vec<(String, StructureKind)>,
    /// Subscriptions that have ended.
    pub(crate) ended: Vec<Arc<Mailbox>>,
    /// Something is due earlier than it was.
    pub(crate) alarm: bool,
    /// The last connection was lost.
    pub(crate) alone: bool,
}

impl Effects {
    /// Does it all and leaves nothing. New lanes and names are seen to by the client's own thread only.
    pub(crate) fn run(&mut self, shared: &Arc<Shared>) {
        self.wakers.drain(..).for_each(Waker::wake);
        for (waiting, answer) in self.answers.drain(..) {
            waiting.answer(answer);
        }
        for mailbox in self.ended.drain(..) {
            mailbox.close().into_iter().for_each(Waker::wake);
        }
        for lane in self.lanes.drain(..) {
            tokio::spawn(driver::keep_connected(Arc::clone(shared), lane));
        }
        if !self.declare.is_empty() {
            let names = std::mem::take(&mut self.declare);
            tokio::spawn(driver::declare_anew(Arc::clone(shared), names));
        }
        if std::mem::take(&mut self.alarm) {
            shared.alarm.notify_one();
        }
        if std::mem::take(&mut self.alone) {
            shared.alone.notify_one();
        }
    }
}
