//! The threads of lanes. They are kept from one scenario to the next.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::unistd::gettid;
use scenario::history::{At, Outcome, Record};

use crate::Error;
use crate::backstage::{Reply, Request};
use crate::hands::{Call, Hands};
use crate::kcov::Recording;
use crate::stage::Stage;
use crate::sys;

/// Tries to see the others of a group before a lane gives its processor away.
const SPINS: u32 = 200;

/// One step for a lane's thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// Index into the scenario's steps.
    pub(crate) step: u32,
    /// How long it waits before its call.
    pub(crate) after: Duration,
    /// Whether no other call is under way.
    pub(crate) alone: bool,
}

/// What a lane's thread is told.
enum Order {
    /// Make these calls once all of the group are there.
    Perform { stage: Arc<Stage>, lane: u8, tasks: Vec<Task>, group: Arc<Group> },
    /// The scenario is over.
    Tidy,
}

/// What a lane's thread has to say.
#[derive(Debug)]
pub(crate) enum News {
    /// It has made its calls.
    Done { lane: u8, records: Vec<Record> },
    /// It needs something done.
    Wants { request: Request, answer: Sender<Reply> },
}

/// Lanes that are released together.
#[derive(Debug)]
struct Group {
    size: usize,
    here: AtomicUsize,
}

impl Group {
    /// Waits for the others, without sleeping: a lane that is woken up is later than one that never slept.
    fn meet(&self) {
        self.here.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.here.load(Ordering::SeqCst) < self.size {
            spins += 1;
            if spins % SPINS == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

#[derive(Debug)]
struct Worker {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    number: i32,
    /// `/proc/…/stat` of the thread, kept open.
    stat: File,
}

/// The threads that there are so far, one for each lane.
#[derive(Debug)]
pub(crate) struct Crew {
    bound: Duration,
    recording: Option<Arc<Recording>>,
    workers: Vec<Worker>,
    sender: Sender<News>,
    news: Receiver<News>,
}

impl Crew {
    /// No thread yet. `bound` is how long a call may take.
    pub(crate) fn new(bound: Duration) -> Crew {
        let (sender, news) = mpsc::channel();
        Crew { bound, recording: None, workers: Vec::new(), sender, news }
    }

    /// Has every thread recorded from now on.
    pub(crate) fn record(&mut self, recording: Arc<Recording>) {
        self.workers.clear();
        self.recording = Some(recording);
    }

    /// Sees to it that every lane of the scenario has a thread, and that others can signal it.
    pub(crate) fn muster(&mut self, stage: &Stage) -> Result<(), Error> {
        while self.workers.len() < stage.lanes.len() {
            let recording = self.recording.clone();
            let worker = Worker::start(self.bound, recording, self.sender.clone())?;
            self.workers.push(worker);
        }
        for (lane, worker) in stage.lanes.iter().zip(&self.workers) {
            lane.thread.store(worker.number, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Releases lanes together, each with its tasks.
    pub(crate) fn release(&self, stage: &Arc<Stage>, group: Vec<(u8, Vec<Task>)>) {
        let together = Arc::new(Group { size: group.len(), here: AtomicUsize::new(0) });
        for (lane, tasks) in group {
            let (stage, group) = (Arc::clone(stage), Arc::clone(&together));
            self.workers[usize::from(lane)].tell(Order::Perform { stage, lane, tasks, group });
        }
    }

    /// The next news, or none in time.
    ///
    /// # Panics
    /// If a lane's thread panicked: its scenario has no end.
    pub(crate) fn news(&self, timeout: Duration) -> Option<News> {
        match self.news.recv_timeout(timeout) {
            Ok(news) => Some(news),
            Err(RecvTimeoutError::Timeout) => {
                let gone =
                    |worker: &Worker| worker.thread.as_ref().is_none_or(JoinHandle::is_finished);
                assert!(!self.workers.iter().any(gone), "a lane's thread panicked");
                None
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("the crew has a sender itself"),
        }
    }

    /// Whether the lane sleeps inside a call.
    pub(crate) fn is_asleep(&self, stage: &Stage, lane: u8) -> bool {
        let calling = || stage.lanes[usize::from(lane)].calling.load(Ordering::SeqCst);
        // once more behind it: a thread that sleeps after its call waits for orders
        calling() && self.workers[usize::from(lane)].sleeps() && calling()
    }

    /// Interrupts the call that the lane was seen asleep in.
    pub(crate) fn rouse(&self, stage: &Stage, lane: u8) {
        stage.lanes[usize::from(lane)].slept_on.store(true, Ordering::SeqCst);
        sys::interrupt_thread(self.workers[usize::from(lane)].number);
    }

    /// Interrupts what the lane is in, for good.
    pub(crate) fn interrupt(&self, stage: &Stage, lane: u8) {
        stage.lanes[usize::from(lane)].over.store(true, Ordering::SeqCst);
        sys::interrupt_thread(self.workers[usize::from(lane)].number);
    }

    /// The scenario is over. A thread that used io_uring ends with it: the kernel never forgets that it did
    /// (`current->io_uring`), and may do otherwise with its later calls. The others are kept, because a new one costs
    /// more than most scenarios do: its buffers have to be filled.
    pub(crate) fn dismiss(&mut self, stage: &Stage) {
        let uring = stage.uring_lanes();
        let mut lane = 0..stage.lanes.len();
        self.workers.retain(|worker| {
            let Some(lane) = lane.next() else { return true };
            worker.tell(Order::Tidy);
            !uring.contains(&lane)
        });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start(
        bound: Duration,
        recording: Option<Arc<Recording>>,
        news: Sender<News>,
    ) -> Result<Worker, Error> {
        let failed = |error| Error::Resource("start a lane's thread", error);
        let (orders, incoming) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::Builder::new().name("lane".into()).spawn(move || {
            // its buffers and its timer are made here, because the timer's signal goes to this thread
            let recorder = recording.map(|recording| recording.join()).transpose();
            match recorder.and_then(|recorder| Ok((recorder, Hands::new(bound)?))) {
                Ok((_recorder, hands)) => {
                    let _ = ready.send(Ok(gettid().as_raw()));
                    work(hands, &incoming, &news);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        });
        let thread = thread.map_err(failed)?;
        let number = is_ready.recv().map_err(|_| failed(io::ErrorKind::BrokenPipe.into()))??;
        let stat = File::open(format!("/proc/self/task/{number}/stat")).map_err(failed)?;
        Ok(Worker { orders: Some(orders), thread: Some(thread), number, stat })
    }

    fn tell(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // a thread that is gone panicked, which the wait for its news tells
            let _ = orders.send(order);
        }
    }

    /// Whether the thread sleeps so that a signal would wake it: state `S` of `proc_pid_stat(5)`.
    fn sleeps(&self) -> bool {
        let mut text = [0; 64];
        let Ok(read) = self.stat.read_at(&mut text, 0) else { return false };
        let text = &text[..read];
        // "12 (lane) S 1 …": the name may hold anything, ours does not
        text.iter().position(|&c| c == b')').and_then(|at| text.get(at + 2)) == Some(&b'S')
    }
}

fn work(mut hands: Hands, orders: &Receiver<Order>, news: &Sender<News>) {
    for order in orders {
        match order {
            Order::Tidy => hands.tidy(),
            Order::Perform { stage, lane, tasks, group } => {
                group.meet();
                let mut records = Vec::with_capacity(tasks.len());
                for task in tasks {
                    perform(&mut hands, &stage, lane, task, news, &mut records);
                }
                // the stage is given back before anybody hears of it
                drop(stage);
                let _ = news.send(News::Done { lane, records });
            }
        }
    }
}

fn perform(
    hands: &mut Hands,
    stage: &Stage,
    lane: u8,
    task: Task,
    news: &Sender<News>,
    records: &mut Vec<Record>,
) {
    let step = &stage.scenario.steps[task.step as usize];
    let actor = stage.scenario.lane(step);
    let call = Call {
        at: At::Step(task.step),
        lane: Some(lane),
        pair: actor.pair,
        endpoint: actor.endpoint,
        op: step.op,
        alone: task.alone,
    };
    idle(task.after);
    let mut ask = |request| {
        let (answer, reply) = mpsc::channel();
        let lost = Reply { outcome: Outcome::Closed, besides: Vec::new() };
        match news.send(News::Wants { request, answer }) {
            Ok(()) => reply.recv().unwrap_or(lost),
            Err(_) => lost,
        }
    };
    let (record, besides) = hands.issue(stage, call, &mut ask);
    records.extend(besides);
    records.push(record);
}

/// Lets time pass without sleeping, which would take longer than it was told to.
fn idle(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        thread::yield_now();
    }
}
