//! What threads do without a connection's lock, in every order that the memory model allows (loom). The files are the
//! server's own, compiled with loom's atomics, locks and wakers in place of the real ones. `LOOM_MAX_PREEMPTIONS=3` takes some
//! seconds more.

use std::sync::Arc;

use bytestring::ByteString;
use loom::future::block_on;
use loom::thread;

#[expect(dead_code, reason = "of it the server uses more")]
#[path = "../../socketio-server/src/handler/ack_slot.rs"]
mod ack_slot;
#[expect(dead_code, reason = "of it the server uses more")]
#[path = "../../socketio-server/src/handler/load.rs"]
mod load;
#[path = "../../socketio-server/src/engine/pending.rs"]
mod pending;
#[path = "../../socketio-server/src/socket/phase.rs"]
mod phase;

use ack_slot::AckSlot;
use load::{Load, Waiting};
use pending::Pending;
use phase::{CONNECTED, Phase};

/// What the files above find under the name `crate::sync`.
mod sync {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    /// Tasks are no part of what is looked at.
    #[derive(Debug, Default)]
    pub(crate) struct TaskTracker;

    /// What Tokio promises of its `Notify`: one permit is kept for who comes later, and `notify_waiters` reaches every
    /// future that was made before it.
    #[derive(Debug, Default)]
    pub(crate) struct Notify(Mutex<State>);

    #[derive(Debug, Default)]
    struct State {
        permit: bool,
        /// How often all were woken.
        calls: usize,
        waiting: VecDeque<Waker>,
    }

    impl Notify {
        pub(crate) fn notify_one(&self) {
            let woken = {
                let mut state = self.0.lock().unwrap();
                state.permit = true;
                state.waiting.pop_front()
            };
            woken.into_iter().for_each(Waker::wake);
        }

        pub(crate) fn notify_waiters(&self) {
            let woken = {
                let mut state = self.0.lock().unwrap();
                state.calls += 1;
                std::mem::take(&mut state.waiting)
            };
            woken.into_iter().for_each(Waker::wake);
        }

        pub(crate) fn notified(&self) -> Notified<'_> {
            Notified { notify: self, calls: self.0.lock().unwrap().calls }
        }
    }

    pub(crate) struct Notified<'a> {
        notify: &'a Notify,
        calls: usize,
    }

    impl Future for Notified<'_> {
        type Output = ();

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            let mut state = self.notify.0.lock().unwrap();
            if state.calls != self.calls || std::mem::take(&mut state.permit) {
                return Poll::Ready(());
            }
            state.waiting.push_back(context.waker().clone());
            Poll::Pending
        }
    }
}

/// With three threads there are too many orders for all: those in which threads are interrupted twice.
fn model_of_three(play: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(2);
    model.check(play);
}

#[test]
fn what_is_listed_is_taken_once_and_the_one_who_takes_it_is_woken() {
    model_of_three(|| {
        let pending = Arc::new(Pending::default());
        let adders: Vec<_> = [[1, 2], [3, 4]]
            .into_iter()
            .map(|items| {
                let pending = pending.clone();
                thread::spawn(move || items.into_iter().for_each(|item| pending.push(item)))
            })
            .collect();
        let mut taken = block_on(async {
            let (mut taken, mut spare) = (Vec::new(), Vec::new());
            while taken.len() < 4 {
                pending.some().await;
                let mut batch = pending.take(spare);
                taken.append(&mut batch);
                spare = batch;
            }
            taken
        });
        adders.into_iter().for_each(|adder| adder.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3, 4]);
    });
}

#[test]
fn an_answer_is_given_by_one_of_those_who_want_to() {
    loom::model(|| {
        let slot = AckSlot::new(7);
        let others = [slot.clone(), slot.clone()].map(|slot| thread::spawn(move || slot.take()));
        let taken = slot.take();
        let others = others.map(|other| other.join().unwrap());
        assert_eq!(others.into_iter().chain([taken]).filter(|taken| *taken).count(), 1);
    });
}

#[test]
fn who_waits_for_handlers_to_return_goes_on_when_they_have() {
    model_of_three(|| {
        let load = Arc::new(Load::default());
        let handlers = [(); 2].map(|()| {
            let waiting = Waiting::new(load.clone());
            thread::spawn(move || drop(waiting))
        });
        block_on(load.below(2));
        assert!(load.is_below(2));
        block_on(load.idle());
        assert!(load.is_below(1));
        handlers.into_iter().for_each(|handler| handler.join().unwrap());
    });
}

#[test]
fn a_client_whose_answer_a_handler_waits_for_is_read() {
    loom::model(|| {
        let load = Arc::new(Load::default());
        let waiting = Waiting::new(load.clone());
        let handler = {
            let load = load.clone();
            thread::spawn(move || load.asked())
        };
        // The handler returns only once it has its answer, and for that the client must be read.
        block_on(load.below(1));
        handler.join().unwrap();
        load.answered();
        drop(waiting);
        assert!(load.is_below(1));
    });
}

/// The rooms that a socket is in.
type Rooms = loom::sync::Mutex<Vec<ByteString>>;

/// As the socket does it.
fn join(phase: &Phase, rooms: &Rooms, room: &ByteString) {
    if !phase.join_early(room, |_| Ok::<_, ()>(())).unwrap() && phase.get() == CONNECTED {
        join_now(rooms, room);
    }
}

fn join_now(rooms: &Rooms, room: &ByteString) {
    let mut rooms = rooms.lock().unwrap();
    if !rooms.contains(room) {
        rooms.push(room.clone());
    }
}

fn leave(phase: &Phase, rooms: &Rooms, room: &ByteString) {
    phase.leave_early(room);
    leave_now(rooms, room);
}

fn leave_now(rooms: &Rooms, room: &ByteString) {
    rooms.lock().unwrap().retain(|other| other != room);
}

#[test]
fn a_socket_that_is_told_to_join_and_leave_while_it_is_let_in_does_both() {
    loom::model(|| {
        let [red, blue] = ["red", "blue"].map(ByteString::from_static);
        let both = Arc::new((Phase::default(), Rooms::default()));
        both.0.early_rooms().push(red.clone());
        let other = {
            let (both, red, blue) = (both.clone(), red.clone(), blue.clone());
            thread::spawn(move || {
                let (phase, rooms) = &*both;
                join(phase, rooms, &blue);
                leave(phase, rooms, &red);
            })
        };
        let (phase, rooms) = &*both;
        phase.enter(|room| join_now(rooms, room), |room| leave_now(rooms, room));
        assert_eq!(phase.get(), CONNECTED);
        other.join().unwrap();
        assert_eq!(*rooms.lock().unwrap(), [blue]);
    });
}

#[test]
fn a_socket_ends_once_whoever_ends_it() {
    loom::model(|| {
        let phase = Arc::new(Phase::default());
        phase.enter(|_| {}, |_| {});
        let other = {
            let phase = phase.clone();
            thread::spawn(move || phase.leave().then(|| phase.end()).is_some())
        };
        let here = phase.leave().then(|| phase.end()).is_some();
        assert!(here ^ other.join().unwrap());
        assert!(!phase.refuse());
    });
}
