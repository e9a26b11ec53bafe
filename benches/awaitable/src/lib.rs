//! A message from Rust to a task of asyncio, by a future of pyo3-async-runtimes.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pyo3::{prelude::*, types::PyBytes};
use tokio::sync::{Mutex, Notify, mpsc};

/// The round that runs.
struct Round {
    /// The inboxes whose task has not answered.
    left: AtomicUsize,
    over: Notify,
}

/// The messages of one task.
#[pyclass]
struct Inbox {
    receiver: Arc<Mutex<mpsc::Receiver<Vec<u8>>>>,
    sender: mpsc::Sender<Vec<u8>>,
    round: Arc<Round>,
}

struct Message(Vec<u8>);

impl<'py> IntoPyObject<'py> for Message {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}

#[pymethods]
impl Inbox {
    /// Returns a future of the next message.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let receiver = Arc::clone(&self.receiver);
        pyo3_async_runtimes::tokio::future_into_py(py, async move {
            let message = receiver.lock().await.recv().await;
            Ok(Message(message.unwrap_or_default()))
        })
    }

    /// Answers a message.
    fn reply(&self, _message: &[u8]) {
        if self.round.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.round.over.notify_one();
        }
    }
}

/// Makes inboxes.
#[pyfunction]
fn inboxes(count: usize) -> Vec<Inbox> {
    let round = Arc::new(Round {
        left: AtomicUsize::new(0),
        over: Notify::new(),
    });
    let inbox = |_| {
        let (sender, receiver) = mpsc::channel(16);
        Inbox {
            receiver: Arc::new(Mutex::new(receiver)),
            sender,
            round: Arc::clone(&round),
        }
    };
    (0..count).map(inbox).collect()
}

/// Sends a message to each inbox and waits for the answers, again and again.
#[pyfunction]
fn drive<'py>(
    py: Python<'py>,
    inboxes: Vec<PyRef<'py, Inbox>>,
    rounds: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let senders: Vec<_> = inboxes.iter().map(|one| one.sender.clone()).collect();
    let round = inboxes.first().map(|one| Arc::clone(&one.round));
    pyo3_async_runtimes::tokio::future_into_py(py, async move {
        let Some(round) = round else { return Ok(()) };
        for _ in 0..rounds {
            round.left.store(senders.len(), Ordering::Release);
            for sender in &senders {
                let _ = sender.send(vec![b'x'; 32]).await;
            }
            round.over.notified().await;
        }
        Ok(())
    })
}

#[pymodule]
fn futures_bench(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Inbox>()?;
    module.add_function(wrap_pyfunction!(inboxes, module)?)?;
    module.add_function(wrap_pyfunction!(drive, module)?)
}
