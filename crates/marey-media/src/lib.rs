//! Opens videos, image folders, arrays and thermal recordings, and reads clips out of them.
