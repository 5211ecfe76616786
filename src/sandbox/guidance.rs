//! Guidance files: the names by which a request says what a file is for, over the years and the
//! surfaces of Layer.

/// What a guidance file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuidanceType {
    InitImage,
    ReferenceImage,
    IpAdapter,
    Face,
    Scribble,
    Pose,
    Depth,
    Canny,
    Lineart,
    ColorSketch,
    Softedge,
    Segmentation,
    FirstFrame,
    LastFrame,
    InitVideo,
    ReferenceVideo,
    InitAudio,
    ReferenceAudio,
    InitMesh,
    TextureImage,
}

impl GuidanceType {
    /// The newest name.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::InitImage => "init_image",
            Self::ReferenceImage => "reference_image",
            Self::IpAdapter => "ip_adapter",
            Self::Face => "face",
            Self::Scribble => "scribble",
            Self::Pose => "pose",
            Self::Depth => "depth",
            Self::Canny => "canny",
            Self::Lineart => "lineart",
            Self::ColorSketch => "color_sketch",
            Self::Softedge => "softedge_hed",
            Self::Segmentation => "segmentation",
            Self::FirstFrame => "first_frame",
            Self::LastFrame => "last_frame",
            Self::InitVideo => "init_video",
            Self::ReferenceVideo => "reference_video",
            Self::InitAudio => "init_audio",
            Self::ReferenceAudio => "reference_audio",
            Self::InitMesh => "init_mesh",
            Self::TextureImage => "texture_image",
        }
    }

    /// Reads a name of any age.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "init_image" | "init" => Self::InitImage,
            "reference_image" | "editing_reference" | "prompt" => Self::ReferenceImage,
            "ip_adapter" => Self::IpAdapter,
            "face" => Self::Face,
            "scribble" => Self::Scribble,
            "pose" => Self::Pose,
            "depth" => Self::Depth,
            "canny" => Self::Canny,
            "lineart" => Self::Lineart,
            "color_sketch" => Self::ColorSketch,
            "softedge_hed" => Self::Softedge,
            "segmentation" => Self::Segmentation,
            "first_frame" => Self::FirstFrame,
            "last_frame" => Self::LastFrame,
            "init_video" => Self::InitVideo,
            "reference_video" => Self::ReferenceVideo,
            "init_audio" | "audio" => Self::InitAudio,
            "reference_audio" => Self::ReferenceAudio,
            "init_mesh" => Self::InitMesh,
            "texture_image" => Self::TextureImage,
            _ => return None,
        })
    }

    /// What the media type of such a file begins with.
    pub(super) const fn media_prefix(self) -> &'static str {
        match self {
            Self::InitVideo | Self::ReferenceVideo => "video/",
            Self::InitAudio | Self::ReferenceAudio => "audio/",
            Self::InitMesh => "model/",
            _ => "image/",
        }
    }

    /// Whether a model that takes `self` takes a file called `other`: a reference is a
    /// reference by whichever of its names.
    pub(super) fn takes(self, other: Self) -> bool {
        let is_reference = |kind| matches!(kind, Self::ReferenceImage | Self::IpAdapter);
        self == other || (is_reference(self) && is_reference(other))
    }
}

#[cfg(test)]
mod tests {
    use super::GuidanceType;

    #[test]
    fn names_of_every_age_are_read() {
        for (old, new) in
            [("init", "init_image"), ("editing_reference", "reference_image"), ("pose", "pose")]
        {
            assert_eq!(GuidanceType::parse(old).map(GuidanceType::word), Some(new));
            assert_eq!(GuidanceType::parse(new).map(GuidanceType::word), Some(new));
        }
        assert_eq!(GuidanceType::parse("INIT"), None);
        assert!(GuidanceType::IpAdapter.takes(GuidanceType::ReferenceImage));
        assert!(!GuidanceType::InitImage.takes(GuidanceType::ReferenceImage));
    }
}
